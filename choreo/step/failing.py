"""A step that failed: tried again, ended by its `otherwise`, or parked; and what that holds up.

The rules of SEMANTICS 26 and 27 live here: how a failed step waits in memory, which later events wait behind it, and
how it is resumed. `settle` ends it; the runtime asks `admit` before it plans an event and `free` after each one. Pure.
"""

from datetime import datetime, timedelta

from choreo.errors import HandlerFailed, RetriesExhausted, UndecodableRecord
from choreo.event import Envelope
from choreo.memory import Fence, FenceKey, Memory, MemoryFlag, Recorded, Status, Timer, TimerKind, Waiting
from choreo.scope import reaches
from choreo.step.call import Argument, Call, Note, Outcome
from choreo.step.reactions import Rules
from choreo.step.recording import keep, key_of, milliseconds, recall, record, room_for_one


def fail(rules: Rules, memory: Memory, call: Call, error: Exception, now: datetime, *, final: bool = False) -> Outcome:
    """Return what an attempt that failed comes to, and record it in memory.

    Args:
        rules: The service, compiled.
        memory: What it remembers of the saga.
        call: The call that was made.
        error: What it raised.
        now: When, aware.
        final: No further attempt would help.

    Returns:
        A retry, set as a timer; or the step's `otherwise`, to be called at once; or a parked step.
    """
    retry = call.handler.retry
    delay_s = None
    if not final and retry.applies_to(error):
        seed = key_of(rules, call.ready.saga_id, call.name, call.branch, call.trigger)
        delay_s = retry.delay_after(call.attempt, seed)
    failed = note(rules, call, "retried", error=text_of(error))._replace(
        attempt=call.attempt, part="otherwise" if call.stands_for else ""
    )
    if delay_s is not None:
        due = now + timedelta(seconds=delay_s)
        wait(memory, call, Status.RETRYING, error)
        memory.timers[TimerKind.RETRY, call.name, call.branch, call.trigger, 0] = Timer(milliseconds(due))
        return Outcome(notes=[failed._replace(reason=f"again at {due.isoformat(timespec='milliseconds')}")])
    otherwise = rules.otherwise.get(call.name)
    if otherwise is not None and not call.stands_for:
        then = Call(
            otherwise,
            call.branch,
            call.trigger,
            call.ready,
            call.events,
            call.causes,
            call.check,
            stands_for=call.name,
            failure=error,
            command_id=call.command_id,
        )
        return Outcome(notes=[failed._replace(reason="retries spent")], then=then)
    spent = RetriesExhausted(
        f"{rules.service}.{call.handler.name} raised {type(error).__name__} on attempt {call.attempt}: {error}",
        service=rules.service,
        saga_id=call.ready.saga_id,
        event_id=call.ready.event_id,
    )
    spent.__cause__ = error
    return park(rules, memory, call, spent)


def park(rules: Rules, memory: Memory, call: Call, error: Exception) -> Outcome:
    """Return what a call that cannot be done comes to: its events kept in memory, for a person (rule 27)."""
    wait(memory, call, Status.PARKED, error)
    parked = note(rules, call, "parked", reason="retries spent", error=text_of(error))
    return Outcome(notes=[parked._replace(attempt=call.attempt)], error=error)


def wait(memory: Memory, call: Call, status: Status, error: Exception) -> None:
    """Record a step that is not settled, with all that its next attempt needs."""
    key = (call.name, call.branch, call.trigger)
    memory.fences[key] = Fence(status, call.check)
    memory.timers.pop((TimerKind.RETRY, *key, 0), None)
    for envelope in (call.ready, *call.causes):
        keep(memory, envelope)
    memory.waiting[key] = Waiting(
        attempt=call.attempt,
        spent=bool(call.stands_for),
        error=text_of(error),
        events=tuple(tuple(keep(memory, each) for each in _envelopes(argument)) for argument in call.events),
        causes=tuple(each.event_id for each in call.causes),
        ready=call.ready.event_id,
        compensates_id=call.compensates_id,
        undoes_key=call.undoes_key,
        command_id=call.command_id,
    )


def settled(rules: Rules, memory: Memory, key: FenceKey) -> None:
    """Drop what a step needed that waits no more; a step that did not wait has nothing to drop."""
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


def resume(rules: Rules, memory: Memory, saga_id: str, key: FenceKey) -> Call | None:
    """Return the next attempt of a step that waits; None where it waits no more, or its handler is gone.

    Raises:
        UndecodableRecord: If its events cannot be read any more.
    """
    step = memory.waiting.get(key)
    name, branch, trigger = key
    handler = rules.otherwise.get(name) if step is not None and step.spent else rules.handlers.get(name)
    if step is None or handler is None:
        return None
    gathers = rules.handlers[name].gathers if name in rules.handlers else None

    def event(event_id: str) -> Envelope:
        known = memory.events.get(event_id)
        if known is None:
            raise UndecodableRecord("memory-unreadable", f"{rules.service}.{name} waits without its event {event_id}")
        return recall(rules, saga_id, known)

    def argument(place: int, ids: tuple[str, ...]) -> Argument:
        if place == gathers:
            return tuple(event(each) for each in ids)
        return event(ids[0]) if ids else None

    return Call(
        handler,
        branch,
        trigger,
        event(step.ready),
        tuple(argument(place, ids) for place, ids in enumerate(step.events)),
        tuple(event(each) for each in step.causes),
        memory.fences[key].check,
        compensates_id=step.compensates_id,
        undoes_key=step.undoes_key,
        attempt=step.attempt + 1,
        stands_for=name if step.spent else "",
        failure=HandlerFailed(step.error, service=rules.service, saga_id=saga_id) if step.spent else None,
        command_id=step.command_id,
    )


def admit(rules: Rules, memory: Memory, envelope: Envelope) -> bool:
    """Return whether it is this event's turn; otherwise it is held in memory.

    The owner of a saga waits for its start: topics have no order between them, and an owner ends only a saga whose
    start it remembers (rule 5). Behind a retrying step the later events of its branch wait (rule 26).

    Raises:
        UndecodableRecord: If too much waits already (rule 6); the record belongs into the dead letters.
    """
    if not rules.owned and not memory.waiting:
        return True
    if _its_turn(rules, memory, envelope):
        if rules.reactions[envelope.type].starts:
            memory.flags |= MemoryFlag.STARTED
        return True
    if envelope.event_id not in memory.held:
        room_for_one(rules, memory)
        memory.held[envelope.event_id] = record(envelope, body=True)
    return False


def free(rules: Rules, memory: Memory, saga_id: str) -> Envelope | None:
    """Take the first held event whose turn has come off the memory and return it; None where there is none.

    Raises:
        UndecodableRecord: If it cannot be read any more; it is dropped.
    """
    for event_id, recorded in memory.held.items():
        if recorded.type in rules.reactions and _its_turn(rules, memory, recorded):
            del memory.held[event_id]
            return recall(rules, saga_id, recorded)
    return None


def _its_turn(rules: Rules, memory: Memory, event: Envelope | Recorded) -> bool:
    reaction = rules.reactions[event.type]
    if not memory.flags & MemoryFlag.STARTED and event.saga_type in rules.owned and not reaction.starts:
        return False
    if not memory.waiting:
        return True
    retrying = [key for key in memory.waiting if memory.fences[key].status is Status.RETRYING]
    if all(branch != event.branch for _, branch, _ in retrying):
        return True
    # A cause that cancels a retrying step does not wait behind it (rules 15 and 16).
    return any(
        name in undo.guarded and reaches(event, branch, rules.failures)
        for undo in reaction.undoes
        for name, branch, _ in retrying
    )


def note(rules: Rules, call: Call, kind: str, *, reason: str = "", error: str = "") -> Note:
    """Return a journal note about a call's step."""
    return Note(
        kind,
        call.name,
        call.branch,
        call.trigger,
        key_of(rules, call.ready.saga_id, call.name, call.branch, call.trigger),
        tuple(each.event_id for each in call.causes) or (call.ready.event_id,),
        reason,
        error,
        call.ready.type,
        call.ready.event_id,
        command_id=call.command_id,
    )


def text_of(error: Exception) -> str:
    """Return an exception as the journal has it."""
    return f"{type(error).__name__}: {error}"


def _envelopes(argument: Argument) -> tuple[Envelope, ...]:
    # An envelope is a tuple itself.
    if argument is None:
        return ()
    return (argument,) if isinstance(argument, Envelope) else argument


def _ids(step: Waiting) -> set[str]:
    return {step.ready, *step.causes}.union(*step.events)
