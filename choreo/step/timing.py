"""Deadlines and events that are emitted later: set, called off, due.

The rules of SEMANTICS 23 and 24 live here, as changes to the timers of one memory; retries are timers too, set by
`failing` and resumed here. What wakes up when a timer is due does not (`runtime`). Pure.
"""

from collections.abc import Iterator
from zlib import crc32

from choreo.errors import UndecodableRecord
from choreo.event import Envelope
from choreo.memory import Memory, MemoryFlag, Status, Timer, TimerKey, TimerKind
from choreo.scope import reaches
from choreo.step.call import Call
from choreo.step.failing import resume
from choreo.step.reactions import Rules
from choreo.step.recording import first, milliseconds, recall, record


def call_off(rules: Rules, memory: Memory, event: Envelope) -> None:
    """Drop the timers that an event ends: by coming in time, or by being a failure."""
    if not memory.timers:
        return
    failure = event.type in rules.failures
    for key, timer in list(memory.timers.items()):
        kind, name, branch, _, _ = key
        if kind is TimerKind.DEADLINE:
            handler = rules.handlers.get(name)
            lasts = handler is not None and handler.after_abort
            awaited = event.type in rules.awaits.get(name, ())
        elif kind is TimerKind.LATER:
            lasts, awaited = False, event.type in timer.unless
        else:
            continue
        if (failure and not lasts) or (awaited and reaches(event, branch, rules.failures)):
            del memory.timers[key]


def end(memory: Memory) -> None:
    """Drop what ends with the saga; a retry does not."""
    memory.timers = {key: timer for key, timer in memory.timers.items() if key[0] is TimerKind.RETRY}


def may_set(memory: Memory, *, after_abort: bool) -> bool:
    """Return whether a timer may still be set in this saga (rule 24)."""
    over = memory.ended_ms or memory.terminal_id
    return not over and (after_abort or not memory.flags & MemoryFlag.ABORTED)


def set_deadlines(rules: Rules, memory: Memory, trigger: Envelope) -> Iterator[Call]:
    """Set the deadlines that count from this event; yield, to be parked, those that cannot say how long."""
    for handler in rules.reactions[trigger.type].deadlines:
        name, branch, event_id = handler.name, trigger.branch, trigger.event_id
        key: TimerKey = (TimerKind.DEADLINE, name, branch, event_id, 0)
        if key in memory.timers or (name, branch, event_id) in memory.fences:
            continue
        if not may_set(memory, after_abort=handler.after_abort):
            continue
        if first(rules, memory, rules.awaits[name], branch) is not None:
            continue
        try:
            within = handler.within(trigger.event) if callable(handler.within) else handler.within
            assert within is not None
            due_ms = milliseconds(trigger.occurred_at + within)
        except Exception as error:  # noqa: BLE001 - a function of the user's.
            call = Call(handler, branch, event_id, trigger, (trigger,), (trigger,), crc32(trigger.body))
            call.error = f"within= of {rules.service}.{name} raised {error!r} for {trigger.type}"
            yield call
            continue
        memory.timers[key] = Timer(due_ms, record(trigger, body=True))


def due(memory: Memory, now_ms: int) -> list[TimerKey]:
    """Return the timers that are due, the longest due first."""
    if not memory.timers:
        return []
    found = [(timer.due_ms, key) for key, timer in memory.timers.items() if timer.due_ms <= now_ms]
    return [key for _, key in sorted(found)]


def fire(rules: Rules, memory: Memory, saga_id: str, key: TimerKey) -> Call | None:
    """Take a timer that is due off the memory, and return the step to take.

    Returns:
        None for a deadline whose handler is gone.

    Raises:
        UndecodableRecord: If its events cannot be read any more.
    """
    kind, name, branch, trigger, _ = key
    timer = memory.timers.pop(key)
    if kind is TimerKind.RETRY:
        step = (name, branch, trigger)
        try:
            return resume(rules, memory, saga_id, step)
        except UndecodableRecord:
            # It can be tried no more as it is, and holds nobody up any longer.
            memory.fences[step] = memory.fences[step]._replace(status=Status.PARKED)
            raise
    handler = rules.handlers.get(name)
    if handler is None or timer.event is None:
        return None
    event = recall(rules, saga_id, timer.event)
    call = Call(handler, branch, trigger, event, (event,), (event,), crc32(event.body))
    if event.hop >= rules.hops_max:
        call.error = rules.too_far(name, event.hop)
    return call
