"""What came of a call: (memory, call, result) → events and notes.

The rules for what a step may emit, the identity of what it emits, the owner's end of a saga, skipping and parking
live here (SEMANTICS 2, 3, 8, 9, 10, 15, 19, 27); deciding what to call does not. The runtime calls one of these
functions for every call that `plan` gave, on the same memory.
"""

from collections.abc import Sequence
from datetime import datetime

from choreo.errors import HandlerFailed, Problem, SchemaError, UndeclaredEmission
from choreo.event import Envelope, Event, emitted_id
from choreo.memory import HOP_MAX, Fence, Flag, Memory, Status
from choreo.step.call import Call, Note, Outcome
from choreo.step.plan import recall, record, step_key
from choreo.step.reactions import Owned, Rules

PATH_STEPS_MAX = 32


def settle(rules: Rules, memory: Memory, call: Call, emitted: Sequence[Event], now: datetime) -> Outcome:
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
    bodies = _bodies(rules, call, emitted)
    if isinstance(bodies, Exception):
        return park(rules, memory, call, bodies)
    handler, ready = call.handler, call.ready
    step = f"{rules.service}.{handler.name}"
    path = _path(call, step)
    outcome = Outcome()
    memory.fences[handler.name, call.branch, call.trigger] = Fence(Status.DONE, call.check)
    causes = call.causes
    hop = causes[0].hop if len(causes) == 1 else max((each.hop for each in causes), default=ready.hop)
    hop = hop + 1 if hop < HOP_MAX else HOP_MAX
    source = f"/{rules.service}/{handler.name}"
    cause_ids = tuple(each.event_id for each in causes) if len(causes) > 1 else ()
    for index, (event, body) in enumerate(zip(emitted, bodies, strict=True)):
        envelope = Envelope(
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
            call.branch,
            hop,
            path,
            ready.traceparent,
            ready.tracestate,
        )
        if rules.owned and not _owner_allows(rules, memory, call, envelope, outcome):
            continue
        outcome.events.append(envelope)
        kept = envelope.type in rules.kept
        if kept or rules.at_least_once:
            body_kept = rules.at_least_once or envelope.type in rules.kept_bodies
            memory.events[envelope.event_id] = record(
                envelope, body=body_kept, mine=True, read=False, step=handler.name, trigger=call.trigger
            )
        if envelope.type in rules.failures:
            memory.flags |= Flag.ABORTED
    if not emitted:
        outcome.notes.append(note(rules, call, "completed"))
    if not call.branch and handler.name in rules.alone:
        _trim(memory, rules.alone[handler.name])
    return outcome


def skip(rules: Rules, memory: Memory, call: Call) -> Outcome:
    """Return what a call that is not to be run comes to: a fence and a note (rules 15 and 20)."""
    memory.fences[call.handler.name, call.branch, call.trigger] = Fence(Status.SKIPPED, call.check)
    return Outcome(notes=[note(rules, call, "skipped", reason=call.skip)])


def park(rules: Rules, memory: Memory, call: Call, error: Exception) -> Outcome:
    """Return what a call that cannot be done comes to: its triggers kept in memory, for a person (rule 27)."""
    memory.fences[call.handler.name, call.branch, call.trigger] = Fence(Status.PARKED, call.check)
    for envelope in call.events:
        if envelope is None:
            continue
        known = memory.events.get(envelope.event_id)
        if known is None:
            memory.events[envelope.event_id] = record(envelope, body=True)
        elif not known.body:
            memory.events[envelope.event_id] = known._replace(body=envelope.body)
    text = f"{type(error).__name__}: {error}"
    return Outcome(notes=[note(rules, call, "parked", reason="retries spent", error=text)], error=error)


def reemit(rules: Rules, memory: Memory, call: Call) -> Outcome:
    """Return again what a step came to, from memory: its outputs may not have been published (rule 10)."""
    handler, branch, trigger = call.handler.name, call.branch, call.trigger
    fence = memory.fences[handler, branch, trigger]
    outcome = Outcome()
    if fence.status is Status.SKIPPED:
        outcome.notes.append(note(rules, call, "skipped"))
    elif fence.status is Status.PARKED:
        outcome.notes.append(note(rules, call, "parked"))
    for recorded in memory.events.values():
        if recorded.step == handler and recorded.trigger == trigger and recorded.branch == branch and recorded.body:
            envelope = recall(rules, recorded, call.ready)
            outcome.events.append(envelope)
            if recorded.event_id == memory.terminal_id:
                outcome.ended = envelope
    if fence.status is Status.DONE and not outcome.events:
        outcome.notes.append(note(rules, call, "completed"))
    return outcome


def note(rules: Rules, call: Call, kind: str, *, reason: str = "", error: str = "") -> Note:
    """Return a journal note about a call's step."""
    return Note(
        kind,
        call.handler.name,
        call.branch,
        call.trigger,
        step_key(rules, call.ready.saga_id, call.handler.name, call.branch, call.trigger),
        tuple(each.event_id for each in call.causes) or (call.ready.event_id,),
        reason,
        error,
        call.ready.type,
        call.ready.event_id,
    )


def _bodies(rules: Rules, call: Call, emitted: Sequence[Event]) -> list[bytes] | Exception:
    """Return what is to be published, encoded; or why none of it may be (rule 9)."""
    allowed = rules.emits[call.handler.name]
    for event in emitted:
        if type(event) not in allowed:
            return _undeclared(rules, call, event)
    try:
        bodies = [rules.codec.encode(event) for event in emitted]
    except (SchemaError, ValueError) as error:
        return error
    for event, body in zip(emitted, bodies, strict=True):
        if len(body) > rules.event_bytes_max:
            text = f"{type(event).__name__} has {len(body)} bytes, more than event_bytes_max={rules.event_bytes_max}"
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
    elif failure and flags & Flag.COMPLETED:
        reason = "the saga has completed, and a completed saga fails no more"
    owned = rules.owned.get(envelope.saga_type) or _owner_of(rules, envelope.type)
    completes = owned is not None and envelope.type in owned.completes
    if not reason and completes and flags & Flag.ABORTED:
        reason = "a failure came first, and a failed saga does not complete"
    if reason:
        noted = note(rules, call, "dropped", reason=reason)
        outcome.notes.append(noted._replace(event_type=envelope.type, event_id=envelope.event_id))
        return False
    if envelope.type in rules.terminals:
        memory.terminal_id = envelope.event_id
        memory.flags |= Flag.COMPLETED if completes else Flag.FAILED
        outcome.ended = envelope
    return True


def _owner_of(rules: Rules, terminal: str) -> Owned | None:
    return next((each for each in rules.owned.values() if terminal in each.completes | each.fails), None)


def _trim(memory: Memory, alone: frozenset[str]) -> None:
    """Drop the bodies of events that only a join wanted which has now run for good."""
    for event_id, recorded in memory.events.items():
        if recorded.type in alone and recorded.body and not recorded.mine:
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
