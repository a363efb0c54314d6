"""What an event makes ready: (memory, envelope) → calls.

The rules for forward steps, joins, `unless`, cancelled steps, compensations, duplicates and held events live here
(SEMANTICS 2, 5-8, 14-17, 20); making the calls and recording their results do not. The runtime calls `arrivals`,
then `plan` for each arrival, on a memory that it alone holds.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zlib import crc32

from choreo.branch import covers, related
from choreo.errors import UndecodableRecord
from choreo.event import Envelope, emitted_id
from choreo.handler import Handler
from choreo.memory import Flag, Memory, Recorded, Status
from choreo.step.call import Call, Note
from choreo.step.reactions import Join, Reaction, Rules, Undo, names

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def record(envelope: Envelope, *, body: bool, **marks: str | bool) -> Recorded:
    """Return what memory keeps of an event.

    Args:
        envelope: The event.
        body: Whether a handler may ask for it again.
        marks: `mine`, `read`, `held`, `step` and `trigger` of `Recorded`.
    """
    kept = Recorded(
        event_id=envelope.event_id,
        type=envelope.type,
        branch=envelope.branch,
        hop=envelope.hop,
        occurred_us=(envelope.occurred_at - EPOCH) // _MICROSECOND,
        source=envelope.source,
        causation_id=envelope.causation_id,
        causes=envelope.causes,
        compensates_id=envelope.compensates_id,
        path=envelope.path,
        body=envelope.body if body else b"",
        check=crc32(envelope.body),
        saga_type=envelope.saga_type,
        business_key=envelope.business_key,
    )
    return kept._replace(**marks) if marks else kept  # type: ignore[arg-type]


def recall(rules: Rules, recorded: Recorded, near: Envelope) -> Envelope:
    """Return a recorded event as an envelope again; `near` is any envelope of the same saga."""
    return Envelope(
        event=rules.codec.decode(recorded.type, recorded.body),
        body=recorded.body,
        event_id=recorded.event_id,
        type=recorded.type,
        saga_id=near.saga_id,
        saga_type=recorded.saga_type or near.saga_type,
        business_key=recorded.business_key or near.business_key,
        source=recorded.source,
        occurred_at=EPOCH + timedelta(microseconds=recorded.occurred_us),
        causation_id=recorded.causation_id,
        causes=recorded.causes,
        compensates_id=recorded.compensates_id,
        branch=recorded.branch,
        hop=recorded.hop,
        path=recorded.path,
        traceparent=near.traceparent,
        tracestate=near.tracestate,
    )


def arrivals(rules: Rules, memory: Memory, envelope: Envelope) -> list[Envelope]:
    """Return what arrives with this envelope, in order.

    The owner of a saga waits for its start: topics have no order between them, and an owner ends only a saga whose
    start it remembers (rule 5). What comes before is held in memory and arrives behind the start.

    Raises:
        UndecodableRecord: If too much waits already (rule 6); the record belongs into the dead letters.
    """
    if not rules.owned or memory.flags & Flag.STARTED:
        return [envelope]
    reaction = rules.reactions[envelope.type]
    if reaction.starts:
        memory.flags |= Flag.STARTED
        held = [recorded for recorded in memory.events.values() if recorded.held]
        for recorded in held:
            del memory.events[recorded.event_id]
        return [envelope, *(recall(rules, recorded, envelope) for recorded in held)]
    if envelope.saga_type not in rules.owned:
        return [envelope]
    if envelope.event_id not in memory.events:
        _room_for_one(rules, memory)
        memory.events[envelope.event_id] = record(envelope, body=True, held=True)
    return []


def plan(rules: Rules, memory: Memory, envelope: Envelope) -> tuple[list[Call], list[Note]]:
    """Return the calls that this event makes ready and the fences allow, and what is to be journalled at once.

    Args:
        rules: The service, compiled.
        memory: What it remembers of the saga; the event is recorded in it where it may be needed again.
        envelope: The event that came.

    Raises:
        UndecodableRecord: If too much waits already (rule 6); the record belongs into the dead letters.
    """
    reaction = rules.reactions[envelope.type]
    calls: list[Call] = []
    notes: list[Note] = []
    if not reaction.plain and not _remember(rules, memory, reaction, envelope, notes):
        return calls, notes
    for undo in reaction.undoes:
        calls += _caused(rules, memory, undo, envelope)
    for undo in reaction.undone_by:
        calls += _late_original(rules, memory, undo, envelope)
    for handler in reaction.singles:
        trigger = envelope.event_id
        fence = memory.fences.get((handler.name, envelope.branch, trigger))
        if fence is None:
            call = Call(handler, envelope.branch, trigger, envelope, (envelope,), (envelope,), crc32(envelope.body))
            calls += _allowed(rules, memory, call)
        elif fence.check != crc32(envelope.body):
            notes.append(_differs(handler.name, envelope))
        elif rules.at_least_once:
            calls += _again(rules, memory, handler, envelope, trigger)
    for join in reaction.joins:
        calls += _joined(rules, memory, join, envelope)
    return calls, notes


def step_key(rules: Rules, saga_id: str, handler: str, branch: str, trigger: str) -> str:
    """Return a step's idempotency key (WIRE: the event_id formula with index `effect`)."""
    return emitted_id(saga_id, f"{rules.service}.{handler}", branch, trigger, "effect")


def _remember(rules: Rules, memory: Memory, reaction: Reaction, envelope: Envelope, notes: list[Note]) -> bool:
    """Record the event where that is wanted; return whether there is anything to plan for it."""
    known = memory.events.get(envelope.event_id)
    if known is not None:
        if known.check != crc32(envelope.body):
            notes.append(_differs("", envelope))
            return False
        if known.read:
            # All that it made ready was committed with it; only without transactions may outputs be missing.
            return rules.at_least_once
        memory.events[envelope.event_id] = known._replace(read=True)
    elif reaction.keep and not _spent(memory, reaction):
        _room_for_one(rules, memory)
        memory.events[envelope.event_id] = record(envelope, body=reaction.keep_body)
    if reaction.failure:
        memory.flags |= Flag.ABORTED
    return True


def _spent(memory: Memory, reaction: Reaction) -> bool:
    """Whether only joins want it and all of them have run at the root, where they never run again."""
    if not reaction.joins or reaction.undoes or reaction.undone_by:
        return False
    return all(reaction.type in join.alone and (join.handler.name, "", "") in memory.fences for join in reaction.joins)


def _room_for_one(rules: Rules, memory: Memory) -> None:
    if len(memory.events) >= rules.waiting_max:
        raise UndecodableRecord(
            "waiting-full", f"{len(memory.events)} events of this saga are remembered already (waiting_max)"
        )


def _differs(handler: str, envelope: Envelope) -> Note:
    return Note(
        "duplicate-differs",
        handler,
        envelope.branch,
        envelope.event_id,
        reason="the same event_id came with another body; the first one stands",
        event_type=envelope.type,
        event_id=envelope.event_id,
    )


def _again(
    rules: Rules, memory: Memory, handler: Handler, envelope: Envelope, trigger: str, branch: str | None = None
) -> Iterator[Call]:
    """Yield a step that has run before, and its null compensation, to be emitted again (rule 10)."""
    where = envelope.branch if branch is None else branch
    yield Call(handler, where, trigger, envelope, (), (envelope,), again=True)
    for undo in rules.guards.get(handler.name, ()):
        key = step_key(rules, envelope.saga_id, handler.name, where, trigger)
        if (undo.handler.name, where, key) in memory.fences:
            yield Call(undo.handler, where, key, envelope, (), (envelope,), again=True)


def _allowed(rules: Rules, memory: Memory, call: Call) -> list[Call]:
    """Return a forward call as the rules leave it: to run, skipped with its null compensations, or parked."""
    handler = call.handler
    calls = [call]
    if memory.events:
        for undo in rules.guards[handler.name]:
            cause = _first(rules, memory, undo.causes, call.branch)
            if cause is not None:
                call.skip = call.skip or f"{cause.type} came first"
                calls += _null(rules, memory, undo, cause, call)
        if (unless := rules.unless[handler.name]) and not call.skip:
            before = _first(rules, memory, unless, call.branch)
            if before is not None and before.event_id != call.ready.event_id:
                call.skip = f"unless {before.type}, which came first"
    if not call.skip and call.ready.hop >= rules.hops_max:
        call.error = (
            f"{rules.service}.{handler.name}: hop {call.ready.hop + 1} of this saga is beyond "
            f"hops_max={rules.hops_max}; break the cycle of events, or raise the setting"
        )
    return calls


def _first(rules: Rules, memory: Memory, types: frozenset[str], branch: str) -> Recorded | None:
    """Return the first recorded event of these types that has a say in this branch (rule 7)."""
    for recorded in memory.events.values():
        if recorded.type in types and not recorded.held and _reaches(rules, recorded, branch):
            return recorded
    return None


def _reaches(rules: Rules, event: Recorded | Envelope, branch: str) -> bool:
    if event.type in rules.failures:
        return True
    return related(event.branch, branch) if event.compensates_id else covers(event.branch, branch)


def _null(rules: Rules, memory: Memory, undo: Undo, cause: Recorded | Envelope, undone: Call) -> Iterator[Call]:
    """Yield the compensation with `None` of a step that was cancelled, if the handler takes it (rule 16)."""
    if not undo.optional:
        return
    ready = undone.ready
    key = step_key(rules, ready.saga_id, undone.handler.name, undone.branch, undone.trigger)
    if (undo.handler.name, undone.branch, key) in memory.fences:
        return
    why = cause if isinstance(cause, Envelope) else recall(rules, cause, ready)
    extras = _extras(rules, memory, undo, ready, undone.causes, undone.branch)
    yield Call(
        undo.handler,
        undone.branch,
        key,
        ready,
        (why, None, *extras),
        (why, *undone.causes),
        compensates_id=key,
        undoes_key=key,
    )


def _extras(
    rules: Rules, memory: Memory, undo: Undo, near: Envelope, causes: tuple[Envelope, ...], branch: str
) -> list[Envelope | None]:
    found: list[Envelope | None] = []
    for types in undo.handler.extras:
        wanted = names(types)
        match: Envelope | None = next((each for each in causes if each.type in wanted), None)
        if match is None:
            recorded = _first(rules, memory, wanted, branch)
            match = recall(rules, recorded, near) if recorded is not None and recorded.body else None
        found.append(match)
    return found


def _compensation(rules: Rules, memory: Memory, undo: Undo, cause: Envelope, original: Envelope) -> Call:
    kept = memory.events.get(original.event_id)
    key = original.event_id
    if kept is not None and kept.step:
        key = step_key(rules, original.saga_id, kept.step, original.branch, kept.trigger)
    ready = cause
    ids = {original.causation_id, *original.causes}
    own_causes = tuple(
        recall(rules, each, cause) for each in memory.events.values() if each.event_id in ids and each.body
    )
    extras = _extras(rules, memory, undo, cause, own_causes, original.branch)
    return Call(
        undo.handler,
        original.branch,
        original.event_id,
        ready,
        (cause, original, *extras),
        (cause, original),
        compensates_id=original.event_id,
        undoes_key=key,
    )


def _caused(rules: Rules, memory: Memory, undo: Undo, cause: Envelope) -> Iterator[Call]:
    """Yield what a compensation's cause sets going: every original in scope, and steps parked or skipped before it."""
    handler = undo.handler
    for recorded in list(memory.events.values()):
        if recorded.type not in undo.originals or recorded.held or not _reaches(rules, cause, recorded.branch):
            continue
        if (handler.name, recorded.branch, recorded.event_id) not in memory.fences:
            yield _compensation(rules, memory, undo, cause, recall(rules, recorded, cause))
        elif rules.at_least_once:
            yield from _again(rules, memory, handler, cause, recorded.event_id, recorded.branch)
    for (name, branch, trigger), fence in list(memory.fences.items()):
        if name not in undo.guarded or fence.status is Status.DONE or not _reaches(rules, cause, branch):
            continue
        causes = _causes_of(rules, memory, rules.handlers[name], branch, trigger, cause)
        undone = Call(rules.handlers[name], branch, trigger, cause, (), causes, fence.check)
        if fence.status is Status.PARKED:
            undone.skip = f"{cause.type} came while it was parked"
            yield undone
        yield from _null(rules, memory, undo, cause, undone)


def _causes_of(
    rules: Rules, memory: Memory, handler: Handler, branch: str, trigger: str, near: Envelope
) -> tuple[Envelope, ...]:
    """Return the events that made a skipped or parked step ready, as far as their bodies are kept."""
    if trigger:
        kept = memory.events.get(trigger)
        found = [kept] if kept is not None else []
    else:
        firsts = (_first(rules, memory, names(types), branch) for types in handler.waits_for)
        found = [each for each in firsts if each is not None]
    return tuple(recall(rules, each, near) for each in found if each.body)


def _late_original(rules: Rules, memory: Memory, undo: Undo, original: Envelope) -> Iterator[Call]:
    """Yield the compensation of an own event that comes after its cause (rule 14: whenever that comes)."""
    fence = memory.fences.get((undo.handler.name, original.branch, original.event_id))
    cause = _first(rules, memory, undo.causes, original.branch)
    if fence is not None and rules.at_least_once:
        yield from _again(rules, memory, undo.handler, original, original.event_id)
    elif fence is None and cause is not None:
        yield _compensation(rules, memory, undo, recall(rules, cause, original), original)


def _joined(rules: Rules, memory: Memory, join: Join, envelope: Envelope) -> Iterator[Call]:
    """Yield a join in every branch that this event completes it in (rules 6 and 7)."""
    handler = join.handler
    awaited = frozenset().union(*join.waits_for)
    here = [each for each in memory.events.values() if each.type in awaited and not each.held]
    branches = dict.fromkeys([envelope.branch, *(each.branch for each in here)])
    for branch in branches:
        if not covers(envelope.branch, branch):
            continue
        if (handler.name, branch, "") in memory.fences:
            if rules.at_least_once:
                yield from _again(rules, memory, handler, envelope, "", branch)
            continue
        chosen: list[Recorded] = []
        for types in join.waits_for:
            found = next((each for each in here if each.type in types and covers(each.branch, branch)), None)
            if found is None:
                break
            chosen.append(found)
        if len(chosen) < len(join.waits_for) or all(each.branch != branch for each in chosen):
            continue
        events = tuple(
            envelope if each.event_id == envelope.event_id else recall(rules, each, envelope) for each in chosen
        )
        yield from _allowed(rules, memory, Call(handler, branch, "", envelope, events, events))
