"""Which compensations an event sets going, and which steps it cancels.

The rules of SEMANTICS 14 to 18 and 20 live here: originals in scope (`caused`), an original that comes after its cause
(`late_original`), steps that a cause overtakes, and undoing what may have happened (`null_compensation`). Pure.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from choreo.event import Envelope
from choreo.memory import FenceKey, Recorded, Status
from choreo.scope import fork, reaches
from choreo.step.decisions import Decision, Park, Reemit, Run, Skip
from choreo.step.retries import Retries
from choreo.step.rules import Reaction, Undo, names
from choreo.step.saga_memory import SagaMemory

_CANCELLED = frozenset({Status.PARKED, Status.RETRYING})


class Compensations(Struct, frozen=True):
    """Decides what is undone in one saga, and what is not to run any more."""

    saga: SagaMemory

    def set_going(self, reaction: Reaction, event: Envelope) -> list[Decision]:
        """Return what an event has undone, and the steps that it cancels: each original once (rule 18)."""
        steps = [step for undo in reaction.undoes for step in self.caused(undo, event)]
        steps += [step for undo in reaction.undone_by for step in self.late_original(undo, event)]
        # One event may be a cause of several compensations of one original: the first of them counts.
        first: dict[tuple[str, str], Decision] = {}
        return [
            step
            for step in steps
            if not isinstance(step, Run) or first.setdefault((step.key[1], step.compensates_id), step) is step
        ]

    def caused(self, undo: Undo, cause: Envelope) -> Iterator[Decision]:
        """Yield what a compensation's cause sets going: every original in scope, and steps that it cancels."""
        saga, rules, memory = self.saga, self.saga.rules, self.saga.memory
        for recorded in list(memory.events.values()):
            if recorded.type not in undo.originals or not reaches(cause, recorded.branch, rules.failures):
                continue
            key = (undo.handler.name, recorded.branch, recorded.event_id)
            if not saga.ran(rules.undoers[recorded.type], recorded.branch, recorded.event_id):
                yield self._compensation(undo, cause, saga.recall(recorded))
            else:
                yield from self.again(key, cause)
        for key, fence in list(memory.fences.items()):
            name, branch, _ = key
            if name not in undo.guarded or fence.status is Status.DONE or not reaches(cause, branch, rules.failures):
                continue
            causes = self._causes_of(key)
            if fence.status in _CANCELLED:
                reason = f"{cause.type} came while it was {fence.status.name.lower()}"
                yield Skip(key, cause, causes, fence.check, reason)
            elif rules.at_least_once and fence.status is Status.SKIPPED:
                # This cause may be what cancelled it.
                yield Reemit(key, cause)
            yield from self.null_compensation(undo, cause, key, cause, causes)

    def late_original(self, undo: Undo, original: Envelope) -> Iterator[Decision]:
        """Yield the compensation of an own event that comes after its cause (rule 14: whenever that comes)."""
        saga, rules = self.saga, self.saga.rules
        key = (undo.handler.name, original.branch, original.event_id)
        cause = saga.first(undo.causes, original.branch)
        if saga.ran(rules.undoers[original.type], original.branch, original.event_id):
            yield from self.again(key, original)
        elif cause is not None:
            yield self._compensation(undo, saga.recall(cause), original)

    def allowed(self, run: Run) -> list[Decision]:
        """Return a forward step as the rules leave it: to run, skipped with its null compensations, or parked."""
        rules, name = self.saga.rules, run.key[0]
        reason, undoings = self._overtaken(run) if self.saga.memory.events else ("", [])
        step: Decision = run
        if reason:
            step = Skip(run.key, run.ready, run.causes, run.check, reason)
        elif run.ready.hop >= rules.hops_max:
            step = Park(run, rules.too_far(name, run.ready.hop))
        return [step, *undoings]

    def _overtaken(self, run: Run) -> tuple[str, list[Decision]]:
        """Return why a step is not to run, "" where it is, and the null compensations that are due in its place."""
        saga, rules = self.saga, self.saga.rules
        name, branch, _ = run.key
        reason = ""
        undoings: list[Decision] = []
        for undo in rules.guards.get(name, ()):
            cause = saga.first(undo.causes, branch)
            if cause is not None:
                reason = reason or f"{cause.type} came first"
                undoings += self.null_compensation(undo, cause, run.key, run.ready, run.causes)
        if not reason and (unless := rules.unless[name]):
            before = saga.first(unless, branch)
            if before is not None and before.event_id != run.ready.event_id:
                reason = f"unless {before.type}, which came first"
        return reason, undoings

    def null_compensation(
        self, undo: Undo, cause: Recorded | Envelope, step: FenceKey, ready: Envelope, causes: tuple[Envelope, ...]
    ) -> Iterator[Decision]:
        """Yield the compensation with `None` of a step that was cancelled, if the handler takes it (rule 16)."""
        if not undo.optional:
            return
        saga, rules = self.saga, self.saga.rules
        name, branch, _ = step
        trigger = saga.step_key(step)
        key = (undo.handler.name, branch, trigger)
        if saga.ran([each.handler.name for each in rules.guards.get(name, ())], branch, trigger):
            if isinstance(cause, Envelope):
                yield from self.again(key, cause)
            return
        why = cause if isinstance(cause, Envelope) else saga.recall(cause)
        yield Run(
            undo.handler,
            key,
            ready,
            (why, None, *self._extras(undo, causes, branch)),
            (why, *causes),
            compensates_id=trigger,
            undoes_key=trigger,
        )

    def again(self, key: FenceKey, event: Envelope) -> Iterator[Reemit]:
        """Yield a step that has run before, and its null compensation, to be emitted again (rule 10).

        Only without transactions may their outputs be missing.
        """
        if not self.saga.rules.at_least_once or key not in self.saga.memory.fences:
            return
        yield Reemit(key, event)
        name, branch, _ = key
        for undo in self.saga.rules.guards.get(name, ()):
            undoing = (undo.handler.name, branch, self.saga.step_key(key))
            if undoing in self.saga.memory.fences:
                yield Reemit(undoing, event)

    def _compensation(self, undo: Undo, cause: Envelope, original: Envelope) -> Run:
        """Return the undoing of an event by its cause."""
        saga, memory = self.saga, self.saga.memory
        undoes_key = original.event_id
        kept = memory.events.get(original.event_id)
        if kept is not None and kept.step:
            step, place = (kept.step, original.branch, kept.trigger), fork(original.branch)
            if place is not None and step not in memory.fences:
                # A fan-out's events are in branches that it opened; the step itself ran in the outer one.
                step = (kept.step, place.outer, kept.trigger)
            undoes_key = saga.step_key(step)
        ids = {original.causation_id, *original.causes}
        causes = saga.recall_all(each for each in memory.events.values() if each.event_id in ids)
        return Run(
            undo.handler,
            (undo.handler.name, original.branch, original.event_id),
            cause,
            (cause, original, *self._extras(undo, causes, original.branch)),
            (cause, original),
            compensates_id=original.event_id,
            undoes_key=undoes_key,
        )

    def _extras(self, undo: Undo, causes: Iterable[Envelope], branch: str) -> Iterator[Envelope | None]:
        """Yield what a compensation takes beside cause and original: causes of the step that it undoes, where known."""
        saga = self.saga
        for types in undo.handler.extras:
            wanted = names(types)
            cause = next((each for each in causes if each.type in wanted), None)
            if cause is None and (recorded := saga.first(wanted, branch)) is not None and recorded.body:
                cause = saga.recall(recorded)
            yield cause

    def _causes_of(self, key: FenceKey) -> tuple[Envelope, ...]:
        """Return what made a step ready that was skipped, is waiting or ended unknown, as far as it is kept."""
        saga = self.saga
        waiting = Retries(self.saga).resume(key)
        if waiting is not None:
            return waiting.causes
        name, branch, trigger = key
        if trigger:
            kept = [saga.memory.events.get(trigger)]
        else:
            kept = [saga.first(names(types), branch) for types in saga.rules.handlers[name].waits_for]
        return saga.recall_all(each for each in kept if each is not None)
