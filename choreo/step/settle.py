"""What came of a call: (memory, call, result) → events and notes.

The rules for what a step may emit, the identity and branch of what it emits, the owner's end of a saga and skipping
live here (SEMANTICS 2, 3, 8, 9, 10, 12, 15, 19, 24); deciding what to call does not, nor what a failed attempt comes to
(`failing`). The runtime calls one of these functions for every call that `plan` gave, on the same memory.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from choreo.errors import HandlerFailed, Problem, SchemaError, UndeclaredEmission
from choreo.event import Envelope, Event, emitted_id
from choreo.memory import HOP_MAX, Fence, Memory, MemoryFlag, Recorded, Status, Timer, TimerKey, TimerKind
from choreo.scope import opened, source_of
from choreo.service import Later
from choreo.step.call import Branch, Call, Emitted, Note, Outcome
from choreo.step.failing import note, park, settled
from choreo.step.reactions import Owned, Rules, names
from choreo.step.recording import key_of, milliseconds, recall, record
from choreo.step.timing import call_off, end, may_set
from choreo.tuples import maker

PATH_STEPS_MAX = 32
_envelope, _fence = maker(Envelope), maker(Fence)


def settle(rules: Rules, memory: Memory, call: Call, emitted: Emitted, now: datetime) -> Outcome:
    """Return what a call that succeeded comes to, and record it in memory.

    Args:
        rules: The service, compiled.
        memory: What it remembers of the saga.
        call: The call that was made.
        emitted: What the handler returned, in order.
        now: When it returned, aware.

    Returns:
        The events to publish; or, where the handler returned what it may not, a parked step and nothing to publish.
    """
    events = [each if isinstance(each, Event) else each.event for each in emitted]
    bodies = _bodies(rules, call, emitted, events)
    if isinstance(bodies, Exception):
        return park(rules, memory, call, bodies)
    ready, key = call.ready, (call.name, call.branch, call.trigger)
    step = f"{rules.service}.{call.name}"
    causes = call.causes
    hop = causes[0].hop if len(causes) == 1 else max((each.hop for each in causes), default=ready.hop)
    hop = hop + 1 if hop < HOP_MAX else HOP_MAX
    source = source_of(rules.service, call.handler.name)
    cause_ids = tuple(each.event_id for each in causes) if len(causes) > 1 else ()
    path = _path(call, step)
    outcome, delayed = Outcome(), []
    memory.fences[key] = _fence((_status(rules, call, events), call.check))
    if memory.waiting:
        settled(rules, memory, key)
    for index, (each, event, body) in enumerate(zip(emitted, events, bodies, strict=True)):
        envelope = _envelope(
            (
                event,
                body,
                emitted_id(ready.saga_id, step, call.branch, call.trigger, index),
                event.__choreo_type__,
                ready.saga_id,
                ready.saga_type,
                ready.business_key,
                source,
                now,
                ready.event_id,
                cause_ids,
                call.compensates_id,
                _branch(rules, call, each) if type(each) is Branch else call.branch,
                hop,
                path,
                ready.traceparent,
                ready.tracestate,
            )
        )
        if type(each) is Later:
            delayed.append(_set_later(rules, memory, call, envelope, each))
        else:
            _emit(rules, memory, call, envelope, outcome)
    # Where nothing is published yet, a note is all that tells that the step is done.
    outcome.notes += delayed if outcome.events else [_as_completed(each) for each in delayed]
    if not emitted:
        outcome.notes.append(note(rules, call, "completed"))
    if not call.branch and not call.trigger and call.name in rules.alone:
        _trim(memory, rules.alone[call.name])
    return outcome


def settle_later(rules: Rules, memory: Memory, saga_id: str, key: TimerKey, now: datetime) -> Outcome:
    """Return what a `Later` that is due comes to, and take it off the memory.

    Raises:
        UndecodableRecord: If its event cannot be read any more.
    """
    _, name, branch, trigger, _ = key
    recorded = memory.timers.pop(key).event
    assert recorded is not None
    envelope = recall(rules, saga_id, recorded)._replace(occurred_at=now)
    outcome = Outcome()
    call = Call(rules.handlers[name], branch, trigger, envelope, (), ()) if name in rules.handlers else None
    if call is not None:
        _emit(rules, memory, call, envelope, outcome)
    else:
        gone = Note("dropped", name, branch, trigger, reason=f"{rules.service} has no handler {name} any more")
        outcome.notes.append(gone._replace(event_type=envelope.type, event_id=envelope.event_id))
    return outcome


def skip(rules: Rules, memory: Memory, call: Call) -> Outcome:
    """Return what a call that is not to be run comes to: a fence and a note (rules 15 and 20)."""
    key = (call.name, call.branch, call.trigger)
    memory.fences[key] = Fence(Status.SKIPPED, call.check)
    settled(rules, memory, key)
    return Outcome(notes=[note(rules, call, "skipped", reason=call.skip)])


def reemit(rules: Rules, memory: Memory, call: Call) -> Outcome:
    """Return again what a step came to, from memory: its outputs may not have been published (rule 10)."""
    name, branch, trigger = call.name, call.branch, call.trigger
    status = memory.fences[name, branch, trigger].status
    outcome = Outcome()
    if status is Status.SKIPPED:
        outcome.notes.append(note(rules, call, "skipped"))
    elif status is Status.PARKED and (waits := memory.waiting.get((name, branch, trigger))) is not None:
        # Told as it was told before, so that it is one note.
        parked = note(rules, call, "parked", reason="retries spent", error=waits.error)
        outcome.notes.append(parked._replace(attempt=waits.attempt, command_id=waits.command_id))
    for recorded in memory.events.values():
        if recorded.step == name and recorded.trigger == trigger and recorded.body and _of(recorded, branch):
            envelope = recall(rules, call.ready.saga_id, recorded)
            outcome.events.append(envelope)
            if recorded.event_id == memory.terminal_id:
                outcome.ended = envelope
    if status is Status.DONE and not outcome.events:
        outcome.notes.append(note(rules, call, "completed"))
    return outcome


def _branch(rules: Rules, call: Call, branch: Branch) -> str:
    key = key_of(rules, call.ready.saga_id, call.name, call.branch, call.trigger)
    return opened(call.branch, key, branch.path, branch.of)


def _of(recorded: Recorded, branch: str) -> bool:
    """Whether an event was emitted by a step of this branch: in it, or in a branch that the step opened."""
    return recorded.branch == branch or recorded.branch.rpartition("/")[0] == branch


def _status(rules: Rules, call: Call, events: Sequence[Event]) -> Status:
    """Return what a step comes to that has run; an `otherwise` may leave an effect behind that nobody knows of."""
    if not call.stands_for:
        return Status.DONE
    told = names(type(each) for each in events)
    unknown = any(undo.optional and told & undo.causes for undo in rules.guards.get(call.name, ()))
    return Status.UNKNOWN if unknown else Status.DONE


def _emit(rules: Rules, memory: Memory, call: Call, envelope: Envelope, outcome: Outcome) -> None:
    """Publish an event, unless the owner may not; what a service emits counts for it as come (rule 8)."""
    if rules.owned and not _owner_allows(rules, memory, call, envelope, outcome):
        return
    outcome.events.append(envelope)
    if envelope.type in rules.kept or rules.at_least_once:
        body = rules.at_least_once or envelope.type in rules.kept_bodies
        memory.events[envelope.event_id] = record(
            envelope, body=body, mine=True, read=False, step=call.name, trigger=call.trigger
        )
    if memory.timers:
        call_off(rules, memory, envelope)
    if envelope.type in rules.failures:
        memory.flags |= MemoryFlag.ABORTED


def _set_later(rules: Rules, memory: Memory, call: Call, envelope: Envelope, later: Later[Event]) -> Note:
    """Set an event down for later, unless it is called off already (rule 24); return what is to be told of it."""
    unless = names(later.named)
    came = next((each.type for each in memory.events.values() if each.type in unless), "")
    if came or not may_set(memory, after_abort=False):
        why = f"{came} came first" if came else "nothing is set once a saga has failed or ended"
        noted = note(rules, call, "dropped", reason=f"{envelope.type} was to come later, and {why}")
        return noted._replace(event_type=envelope.type, event_id=envelope.event_id)
    due = later.at if later.at is not None else envelope.occurred_at + cast("timedelta", later.after)
    kept = record(envelope, body=True, mine=True, read=False, step=call.name, trigger=call.trigger)
    index = sum(key[:4] == (TimerKind.LATER, call.name, call.branch, call.trigger) for key in memory.timers)
    key: TimerKey = (TimerKind.LATER, call.name, call.branch, call.trigger, index)
    memory.timers[key] = Timer(milliseconds(due), kept, tuple(sorted(unless)))
    told = note(rules, call, "delayed", reason=f"{envelope.type} is due at {due.isoformat(timespec='seconds')}")
    return told._replace(part=envelope.event_id)


def _as_completed(told: Note) -> Note:
    return told._replace(kind="completed") if told.kind == "delayed" else told


def _bodies(rules: Rules, call: Call, emitted: Emitted, events: Sequence[Event]) -> list[bytes] | Exception:
    """Return what is to be published, encoded; or why none of it may be (rule 9)."""
    allowed, encode, bytes_max = rules.emits[call.handler.name], rules.codec.encode, rules.event_bytes_max
    bodies: list[bytes] = []
    for event in events:
        if type(event) not in allowed:
            return _undeclared(rules, call, event)
        try:
            body = encode(event)
        except (SchemaError, ValueError) as error:
            return error
        if len(body) > bytes_max:
            text = f"{type(event).__name__} has {len(body)} bytes, more than event_bytes_max={bytes_max}"
            return _failed(rules, call, text)
        bodies.append(body)
    if call.handler.fan_out and sum(type(each) is Branch for each in emitted) > rules.waiting_max:
        text = f"it opened {len(emitted)} branches, and waiting_max={rules.waiting_max} is all a saga can wait for"
        return _failed(rules, call, text)
    if call.handler.later:
        for each in emitted:
            if type(each) is Later and (strange := names(each.named) - rules.kept):
                text = (
                    f"Later(unless={' | '.join(sorted(strange))}): {rules.service} does not read that; "
                    "take it in a handler, or name an event that it reads"
                )
                return _failed(rules, call, text)
    return bodies


def _path(call: Call, step: str) -> tuple[str, ...]:
    if len(call.causes) == 1:
        path = call.causes[0].path
    else:
        path = tuple(dict.fromkeys(name for each in call.causes for name in each.path))
    return (*path, step)[-PATH_STEPS_MAX:]


def _owner_allows(rules: Rules, memory: Memory, call: Call, envelope: Envelope, outcome: Outcome) -> bool:
    """Apply rule 19; return whether the owner may emit this event, and note the end where it is one."""
    flags = memory.flags
    failure = envelope.type in rules.failures
    reason = ""
    if envelope.type in rules.terminals and memory.terminal_id:
        reason = "the saga has ended already"
    elif failure and flags & MemoryFlag.COMPLETED:
        reason = "the saga has completed, and a completed saga fails no more"
    owned = rules.owned.get(envelope.saga_type) or _owner_of(rules, envelope.type)
    completes = owned is not None and envelope.type in owned.completes
    if not reason and completes and flags & MemoryFlag.ABORTED:
        reason = "a failure came first, and a failed saga does not complete"
    if reason:
        noted = note(rules, call, "dropped", reason=reason)
        outcome.notes.append(noted._replace(event_type=envelope.type, event_id=envelope.event_id))
        return False
    if envelope.type in rules.terminals:
        memory.terminal_id = envelope.event_id
        memory.flags |= MemoryFlag.COMPLETED if completes else MemoryFlag.FAILED
        outcome.ended = envelope
        end(memory)
    return True


def _owner_of(rules: Rules, terminal: str) -> Owned | None:
    return next((each for each in rules.owned.values() if terminal in each.completes | each.fails), None)


def _trim(memory: Memory, alone: frozenset[str]) -> None:
    """Drop the bodies of events that only a join wanted which has now run for good."""
    needed = {each for step in memory.waiting.values() for ids in step.events for each in ids}
    for event_id, recorded in memory.events.items():
        if recorded.type in alone and recorded.body and not recorded.mine and event_id not in needed:
            memory.events[event_id] = recorded._replace(body=b"")


def _undeclared(rules: Rules, call: Call, event: object) -> UndeclaredEmission:
    named = ", ".join(sorted(each.__name__ for each in call.handler.emits)) or "nothing"
    return UndeclaredEmission(
        [
            Problem(
                "CH090",
                f"{rules.service}.{call.handler.name} returned {type(event).__name__}, and its hint names {named}",
                call.handler.place,
                f"add {type(event).__name__} to the return hint, or do not return it",
            )
        ]
    )


def _failed(rules: Rules, call: Call, text: str) -> HandlerFailed:
    return HandlerFailed(
        f"{rules.service}.{call.handler.name}: {text}",
        service=rules.service,
        saga_id=call.ready.saga_id,
        event_id=call.ready.event_id,
    )
