"""A step that failed: tried again, ended by its `otherwise`, or parked.

The rules of SEMANTICS 26 and 27 about the step itself live here: how it waits in memory, with all that its next attempt
needs, and how it is taken up again. Which later events wait behind it is decided in `participant`. Pure.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from choreo.errors import HandlerFailed, RetriesExhausted, UndecodableRecord
from choreo.event import Envelope
from choreo.memory import Fence, FenceKey, Status, Timer, TimerKey, TimerKind, Waiting
from choreo.records import Note
from choreo.step.decisions import Argument, Outcome, Reemit, Run
from choreo.step.saga_memory import SagaMemory, milliseconds


class Retries(Struct, frozen=True):
    """Keeps the steps of one saga that wait: for another attempt, or for a person."""

    saga: SagaMemory

    def failed(self, run: Run, error: Exception, now: datetime, *, final: bool) -> Outcome:
        """Return what a call that failed comes to: a retry, the step's `otherwise` to call next, or a parked step."""
        rules, retry, otherwise = self.saga.rules, run.handler.retry, bool(run.handler.guards)
        retried = self._note("retried", run, error)._replace(part="otherwise" if otherwise else "")
        delay_s = None
        if not final and retry.applies_to(error):
            delay_s = retry.delay_after(run.attempt, self.saga.step_key(run.key))
        if delay_s is not None:
            due = now + timedelta(seconds=delay_s)
            self._keep(run, Status.RETRYING, error)
            self.saga.memory.timers[TimerKind.RETRY, *run.key, 0] = Timer(milliseconds(due))
            return Outcome(notes=[retried._replace(reason=f"again at {due.isoformat(timespec='milliseconds')}")])
        if not otherwise and (handler := rules.otherwise.get(run.key[0])) is not None:
            last = replace(run, handler=handler, compensates_id="", undoes_key="", attempt=1, failure=error)
            return Outcome(notes=[retried._replace(reason="retries spent")], steps=[last])
        spent = RetriesExhausted(
            f"{rules.service}.{run.handler.name} raised {type(error).__name__} on attempt {run.attempt}: {error}",
            service=rules.service,
            saga_id=self.saga.saga_id,
            event_id=run.ready.event_id,
        )
        spent.__cause__ = error
        return self.park(run, spent)

    def park(self, run: Run, error: Exception) -> Outcome:
        """Return what a step comes to that cannot be done: its events are kept in memory, for a person (rule 27)."""
        self._keep(run, Status.PARKED, error)
        return Outcome(notes=[self._note("parked", run, error)._replace(reason="retries spent")], error=error)

    def parked_note(self, step: Reemit) -> Note:
        """Return the note about a parked step as it was first written, so that it stays one note."""
        waiting = self.saga.memory.waiting[step.key]
        parked = self.saga.note("parked", step, "retries spent")
        return parked._replace(error=waiting.error, attempt=waiting.attempt, command_id=waiting.command_id)

    def drop(self, key: FenceKey) -> None:
        """Drop what a step needed that waits no more; of a step that did not wait there is nothing to drop."""
        rules, memory = self.saga.rules, self.saga.memory
        step = memory.waiting.pop(key, None)
        if step is None:
            return
        memory.timers.pop((TimerKind.RETRY, *key, 0), None)
        needed = {each for other in memory.waiting.values() for each in _ids(other)}
        for event_id in _ids(step) - needed:
            kept = memory.events.get(event_id)
            if kept is None or kept.type in rules.kept_bodies or (kept.mine and rules.at_least_once):
                continue
            if kept.type in rules.kept:
                memory.events[event_id] = kept._replace(body=b"")
            else:
                del memory.events[event_id]

    def take(self, timer: TimerKey) -> Run | None:
        """Take a retry that is due off the memory, and return the attempt to make.

        Raises:
            UndecodableRecord: If its events cannot be read any more; the step is parked.
        """
        memory = self.saga.memory
        del memory.timers[timer]
        key = timer[1:4]
        try:
            return self.resume(key)
        except UndecodableRecord:
            # It cannot be tried again as it is, and must not hold up later events any longer.
            memory.fences[key] = memory.fences[key]._replace(status=Status.PARKED)
            raise

    def resume(self, key: FenceKey, step: Waiting | None = None) -> Run | None:
        """Return the next attempt of a step that waits; None where it waits no more, or its handler is gone.

        Args:
            key: The step.
            step: What it is to go on from, where that is not what the memory has of it.

        Raises:
            UndecodableRecord: If its events cannot be read any more.
        """
        rules = self.saga.rules
        step = step or self.saga.memory.waiting.get(key)
        if step is None:
            return None
        name = key[0]
        own = rules.handlers.get(name)
        handler = rules.otherwise.get(name) if step.spent else own
        if handler is None:
            return None
        gathers = own.gathers if own is not None else None

        def argument(place: int, ids: tuple[str, ...]) -> Argument:
            if place == gathers:
                return tuple(self._event(name, each) for each in ids)
            return self._event(name, ids[0]) if ids else None

        return Run(
            handler,
            key,
            self._event(name, step.ready),
            tuple(argument(place, ids) for place, ids in enumerate(step.events)),
            tuple(self._event(name, each) for each in step.causes),
            self.saga.memory.fences[key].check,
            step.compensates_id,
            step.undoes_key,
            step.attempt + 1,
            HandlerFailed(step.error, service=rules.service, saga_id=self.saga.saga_id) if step.spent else None,
            step.command_id,
        )

    def _keep(self, run: Run, status: Status, error: Exception) -> None:
        """Record a step that waits, with all that its next attempt needs."""
        memory, keep = self.saga.memory, self.saga.keep
        memory.fences[run.key] = Fence(status, run.check)
        memory.timers.pop((TimerKind.RETRY, *run.key, 0), None)
        for envelope in (run.ready, *run.causes):
            keep(envelope)
        memory.waiting[run.key] = Waiting(
            attempt=run.attempt,
            spent=bool(run.handler.guards),
            error=_text(error),
            events=tuple(tuple(keep(each) for each in _envelopes(argument)) for argument in run.events),
            causes=tuple(each.event_id for each in run.causes),
            ready=run.ready.event_id,
            compensates_id=run.compensates_id,
            undoes_key=run.undoes_key,
            command_id=run.command_id,
        )

    def _event(self, handler: str, event_id: str) -> Envelope:
        known = self.saga.memory.events.get(event_id)
        if known is None:
            text = f"{self.saga.rules.service}.{handler} waits without its event {event_id}"
            raise UndecodableRecord("memory-unreadable", text)
        return self.saga.recall(known)

    def _note(self, kind: str, run: Run, error: Exception) -> Note:
        return self.saga.note(kind, run)._replace(error=_text(error), attempt=run.attempt)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _envelopes(argument: Argument) -> tuple[Envelope, ...]:
    # An envelope is a tuple itself.
    if argument is None:
        return ()
    return (argument,) if isinstance(argument, Envelope) else argument


def _ids(step: Waiting) -> set[str]:
    return {step.ready, *step.causes}.union(*step.events)
