"""What comes of a step that is not tried again: it returned, was skipped, or has run before.

The rules for what a step may emit, for the identity and branch of what it emits, and for the owner's end of a saga live
here (SEMANTICS 2, 3, 8, 9, 10, 12, 19); what an attempt that failed comes to is `retries`'. Pure.
"""

from datetime import datetime

from msgspec import Struct

from choreo.errors import HandlerFailed, Problem, SchemaError, UndeclaredEmission
from choreo.event import Envelope, Event, emitted_id
from choreo.handler import Handler
from choreo.memory import HOP_MAX, Fence, MemoryFlag, Recorded, Status, TimerKey
from choreo.records import Note
from choreo.scope import opened, source_of
from choreo.service import Later
from choreo.step.decisions import Branch, Emitted, Outcome, Reemit, Run, Skip
from choreo.step.retries import Retries
from choreo.step.rules import names
from choreo.step.saga_memory import SagaMemory, record
from choreo.step.saga_timers import SagaTimers
from choreo.tuples import maker

PATH_STEPS_MAX = 32
_envelope, _fence = maker(Envelope), maker(Fence)


class Settlement(Struct, frozen=True):
    """Records what came of a step, and says what is published of it."""

    saga: SagaMemory

    def returned(self, run: Run, emitted: Emitted, now: datetime) -> Outcome:
        """Return what a call that returned comes to; where it returned what it may not, the step is parked."""
        saga, memory = self.saga, self.saga.memory
        try:
            envelopes = self._envelopes(run, emitted, now)
        except (HandlerFailed, UndeclaredEmission, SchemaError, ValueError) as error:
            return Retries(self.saga).park(run, error)
        key, outcome = run.key, Outcome()
        status = self._status_left(run, envelopes) if run.handler.guards else Status.DONE
        memory.fences[key] = _fence((status, run.check))
        if memory.waiting:
            Retries(self.saga).drop(key)
        delayed: list[Note] = []
        for each, envelope in zip(emitted, envelopes, strict=True):
            if type(each) is Later:
                delayed.append(SagaTimers(self.saga).set_later(run, envelope, each))
            else:
                self._emit(run, envelope, outcome)
        if delayed:
            # Where nothing is published yet, a note is all that says that the step is done.
            done = not outcome.events
            outcome.notes += [
                each._replace(kind="completed") if done and each.kind == "delayed" else each for each in delayed
            ]
        if not emitted:
            outcome.notes.append(saga.note("completed", run))
        if not key[1] and not key[2] and key[0] in saga.rules.alone:
            self._trim(saga.rules.alone[key[0]])
        return outcome

    def later_due(self, key: TimerKey, now: datetime) -> Outcome:
        """Return what an event comes to whose time has come, and take its timer off the memory.

        Raises:
            UndecodableRecord: If it cannot be read any more.
        """
        rules = self.saga.rules
        _, name, branch, trigger, _ = key
        recorded = self.saga.memory.timers.pop(key).event
        assert recorded is not None
        envelope = self.saga.recall(recorded)._replace(occurred_at=now)
        outcome = Outcome()
        if name in rules.handlers:
            self._emit(Reemit((name, branch, trigger), envelope), envelope, outcome)
        else:
            gone = Note("dropped", name, branch, trigger, reason=f"{rules.service} has no handler {name} any more")
            outcome.notes.append(gone._replace(event_type=envelope.type, event_id=envelope.event_id))
        return outcome

    def skipped(self, skip: Skip) -> Outcome:
        """Return what a step that is not to run comes to: a fence and a note (rules 15 and 20)."""
        self.saga.memory.fences[skip.key] = Fence(Status.SKIPPED, skip.check)
        Retries(self.saga).drop(skip.key)
        return Outcome(notes=[self.saga.note("skipped", skip, skip.reason)])

    def again(self, step: Reemit) -> Outcome:
        """Return again what a step came to, from memory: its outputs may not have been published (rule 10)."""
        saga, memory = self.saga, self.saga.memory
        name, branch, trigger = step.key
        status = memory.fences[step.key].status
        outcome = Outcome()
        if status is Status.SKIPPED:
            outcome.notes.append(saga.note("skipped", step))
        elif status is Status.PARKED and step.key in memory.waiting:
            outcome.notes.append(Retries(saga).parked_note(step))
        for recorded in memory.events.values():
            if recorded.step == name and recorded.trigger == trigger and recorded.body and _ran_in(recorded, branch):
                envelope = saga.recall(recorded)
                outcome.events.append(envelope)
                if recorded.event_id == memory.terminal_id:
                    outcome.ended = envelope
        if status is Status.DONE and not outcome.events:
            outcome.notes.append(saga.note("completed", step))
        return outcome

    def _envelopes(self, run: Run, emitted: Emitted, now: datetime) -> list[Envelope]:
        """Return all that a step emits; nothing is recorded yet.

        Raises:
            UndeclaredEmission: If the return hint names no such event (rule 9).
            HandlerFailed: If it is too much, or is to be called off by what this service does not read.
            SchemaError: If an event cannot be encoded, as with ValueError.
        """
        rules, handler, ready, causes = self.saga.rules, run.handler, run.ready, run.causes
        name, branch, trigger = run.key
        step = f"{rules.service}.{name}"
        source = source_of(rules.service, handler.name)
        cause_ids: tuple[str, ...] = ()
        if len(causes) == 1:
            [cause] = causes
            hop, path = cause.hop, cause.path
        else:
            hop = max((each.hop for each in causes), default=ready.hop)
            path = tuple(dict.fromkeys(name for each in causes for name in each.path))
            cause_ids = tuple(each.event_id for each in causes)
        hop = hop + 1 if hop < HOP_MAX else HOP_MAX
        path = (*path, step)[-PATH_STEPS_MAX:]
        if handler.fan_out or handler.later:
            self._check_wrapped(run, emitted)
        declared, encode, bytes_max = rules.emits[handler.name], rules.codec.encode, rules.event_bytes_max
        envelopes = []
        for index, each in enumerate(emitted):
            event = each.event if isinstance(each, (Later, Branch)) else each
            if type(event) not in declared:
                raise self._undeclared(handler, event)
            body = encode(event)
            if len(body) > bytes_max:
                text = f"{type(event).__name__} has {len(body)} bytes, more than event_bytes_max={bytes_max}"
                raise self._refusal(run, text)
            where = branch
            if type(each) is Branch:
                where = opened(branch, self.saga.step_key(run.key), each.path, each.of)
            envelopes.append(
                _envelope(
                    (
                        event,
                        body,
                        emitted_id(ready.saga_id, step, branch, trigger, index),
                        event.__choreo_type__,
                        ready.saga_id,
                        ready.saga_type,
                        ready.business_key,
                        source,
                        now,
                        ready.event_id,
                        cause_ids,
                        run.compensates_id,
                        where,
                        hop,
                        path,
                        ready.traceparent,
                        ready.tracestate,
                    )
                )
            )
        return envelopes

    def _undeclared(self, handler: Handler, event: Event) -> UndeclaredEmission:
        kind = type(event).__name__
        named = ", ".join(sorted(each.__name__ for each in handler.emits)) or "nothing"
        text = f"{self.saga.rules.service}.{handler.name} returned {kind}, and its hint names {named}"
        fix = f"add {kind} to the return hint, or do not return it"
        return UndeclaredEmission([Problem("CH090", text, handler.place, fix)])

    def _check_wrapped(self, run: Run, emitted: Emitted) -> None:
        """Refuse more branches than a saga can wait for, and what would be called off by an event nobody reads."""
        rules = self.saga.rules
        if sum(type(each) is Branch for each in emitted) > rules.waiting_max:
            text = f"it opened {len(emitted)} branches, and waiting_max={rules.waiting_max} is all a saga can wait for"
            raise self._refusal(run, text)
        for each in emitted:
            if type(each) is Later and (unread := names(each.named) - rules.kept):
                text = (
                    f"Later(unless={' | '.join(sorted(unread))}): {rules.service} does not read that; "
                    "take it in a handler, or name an event that it reads"
                )
                raise self._refusal(run, text)

    def _refusal(self, run: Run, text: str) -> HandlerFailed:
        service, event_id = self.saga.rules.service, run.ready.event_id
        text = f"{service}.{run.handler.name}: {text}"
        return HandlerFailed(text, service=service, saga_id=self.saga.saga_id, event_id=event_id)

    def _status_left(self, run: Run, envelopes: list[Envelope]) -> Status:
        """Return how an `otherwise` leaves its step: an effect may stand whose outcome is unknown (rule 16)."""
        emitted = {each.type for each in envelopes}
        unknown = any(undo.optional and emitted & undo.causes for undo in self.saga.rules.guards.get(run.key[0], ()))
        return Status.UNKNOWN if unknown else Status.DONE

    def _emit(self, step: Run | Reemit, envelope: Envelope, outcome: Outcome) -> None:
        """Publish an event, unless the owner may not; what a service emits counts for it as come (rule 8)."""
        rules, memory = self.saga.rules, self.saga.memory
        if rules.owned and not self._owner_may(step, envelope, outcome):
            return
        outcome.events.append(envelope)
        if envelope.type in rules.kept or rules.at_least_once:
            body = rules.at_least_once or envelope.type in rules.kept_bodies
            name, _, trigger = step.key
            memory.events[envelope.event_id] = record(envelope, body=body, mine=True, step=name, trigger=trigger)
        if memory.timers:
            SagaTimers(self.saga).call_off(envelope)
        if envelope.type in rules.failures:
            memory.flags |= MemoryFlag.ABORTED

    def _owner_may(self, step: Run | Reemit, envelope: Envelope, outcome: Outcome) -> bool:
        """Return whether the owner may emit an event (rule 19): it ends a saga once, and in one way."""
        rules, memory = self.saga.rules, self.saga.memory
        owned = rules.owned.get(envelope.saga_type) or next(
            (each for each in rules.owned.values() if envelope.type in each.completes | each.fails), None
        )
        completes = owned is not None and envelope.type in owned.completes
        reason = ""
        if envelope.type in rules.terminals and memory.terminal_id:
            reason = "the saga has ended already"
        elif envelope.type in rules.failures and memory.flags & MemoryFlag.COMPLETED:
            reason = "the saga has completed, and a completed saga fails no more"
        elif completes and memory.flags & MemoryFlag.ABORTED:
            reason = "a failure came first, and a failed saga does not complete"
        if reason:
            outcome.notes.append(self.saga.dropped(step, envelope, reason))
            return False
        if envelope.type in rules.terminals:
            memory.terminal_id = envelope.event_id
            memory.flags |= MemoryFlag.COMPLETED if completes else MemoryFlag.FAILED
            outcome.ended = envelope
            SagaTimers(self.saga).end()
        return True

    def _trim(self, alone: frozenset[str]) -> None:
        """Drop the bodies of events that only a join wanted which has now run for good."""
        memory = self.saga.memory
        needed = {each for step in memory.waiting.values() for ids in step.events for each in ids}
        for event_id, recorded in memory.events.items():
            if recorded.type in alone and recorded.body and not recorded.mine and event_id not in needed:
                memory.events[event_id] = recorded._replace(body=b"")


def _ran_in(recorded: Recorded, branch: str) -> bool:
    """Return whether an event was emitted by a step of this branch: in it, or in a branch that the step opened."""
    return recorded.branch == branch or recorded.branch.rpartition("/")[0] == branch
