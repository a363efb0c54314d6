"""What an event makes ready: (memory, envelope) → calls.

Duplicates and single handlers are decided here (SEMANTICS 2, 6); joins and fan-ins in `joining`, compensations and
cancelled steps in `undoing`, deadlines in `timing`. Making the calls and recording their results live elsewhere. The
runtime calls `plan` for each event whose turn it is (`admit`), on a memory that it alone holds.
"""

from zlib import crc32

from choreo.event import Envelope
from choreo.memory import Memory, MemoryFlag
from choreo.step.call import Call, Note
from choreo.step.joining import joined
from choreo.step.reactions import Reaction, Rules
from choreo.step.recording import record, room_for_one
from choreo.step.timing import set_deadlines
from choreo.step.undoing import again, allowed, caused, late_original


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
    if reaction.undoes or reaction.undone_by:
        calls += _undoings(rules, memory, reaction, envelope)
    for handler in reaction.singles:
        trigger = envelope.event_id
        fence = memory.fences.get((handler.name, envelope.branch, trigger))
        if fence is None:
            call = Call(handler, envelope.branch, trigger, envelope, (envelope,), (envelope,), crc32(envelope.body))
            calls += allowed(rules, memory, call)
        elif fence.check != crc32(envelope.body):
            notes.append(_differs(handler.name, envelope))
        elif rules.at_least_once:
            calls += again(rules, memory, handler.name, envelope, trigger)
    for join in reaction.joins:
        calls += joined(rules, memory, join, envelope)
    if reaction.deadlines:
        calls += set_deadlines(rules, memory, envelope)
    return calls, notes


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
        room_for_one(rules, memory)
        memory.events[envelope.event_id] = record(envelope, body=reaction.keep_body)
    if reaction.failure:
        memory.flags |= MemoryFlag.ABORTED
    return True


def _undoings(rules: Rules, memory: Memory, reaction: Reaction, envelope: Envelope) -> list[Call]:
    """Return what an event has undone, and the steps that it cancels: each original once (rule 18)."""
    calls = [call for undo in reaction.undoes for call in caused(rules, memory, undo, envelope)]
    calls += [call for undo in reaction.undone_by for call in late_original(rules, memory, undo, envelope)]
    # One event may be a cause of several compensations of one original: the first of them counts.
    first = {(call.branch, call.compensates_id): call for call in reversed(calls) if call.compensates_id}
    return [call for call in calls if not call.compensates_id or first[call.branch, call.compensates_id] is call]


def _spent(memory: Memory, reaction: Reaction) -> bool:
    """Whether only joins want it and all of them have run at the root, where they never run again."""
    if not reaction.joins or reaction.undoes or reaction.undone_by:
        return False
    return all(reaction.type in join.alone and (join.handler.name, "", "") in memory.fences for join in reaction.joins)


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
