"""The timers of one saga in one service: deadlines and events that are emitted later.

The rules of SEMANTICS 23 and 24 live here: when a timer is set, when it is called off and what it starts. A retry is a
timer, too, set by `retries`; waking up in time is the runtime's. Pure.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import cast
from zlib import crc32

from msgspec import Struct

from choreo.event import Envelope, Event
from choreo.memory import MemoryFlag, Timer, TimerKey, TimerKind
from choreo.records import Note
from choreo.scope import reaches
from choreo.service import Later
from choreo.step.decisions import Park, Run
from choreo.step.rules import names
from choreo.step.saga_memory import SagaMemory, milliseconds, record


class SagaTimers(Struct, frozen=True):
    """Sets, calls off and takes the timers of one saga."""

    saga: SagaMemory

    def due(self, now_ms: int) -> Iterator[TimerKey]:
        """Yield the timers that are due, the longest due first, but for those called off in the meantime."""
        timers = self.saga.memory.timers
        for _, key in sorted((timer.due_ms, key) for key, timer in timers.items() if timer.due_ms <= now_ms):
            if key in self.saga.memory.timers:
                yield key

    def call_off(self, event: Envelope) -> None:
        """Drop the timers that an event ends: by coming in time, or by being a failure."""
        rules, timers = self.saga.rules, self.saga.memory.timers
        failure = event.type in rules.failures
        for key, timer in list(timers.items()):
            kind, name, branch, _, _ = key
            if kind is TimerKind.DEADLINE:
                handler = rules.handlers.get(name)
                outlasts_failure = handler is not None and handler.after_abort
                awaited = event.type in rules.awaits.get(name, ())
            elif kind is TimerKind.LATER:
                outlasts_failure, awaited = False, event.type in timer.unless
            else:
                continue
            if (failure and not outlasts_failure) or (awaited and reaches(event, branch, rules.failures)):
                del timers[key]

    def end(self) -> None:
        """Drop what ends with the saga; a retry does not."""
        memory = self.saga.memory
        memory.timers = {key: timer for key, timer in memory.timers.items() if key[0] is TimerKind.RETRY}

    def set_deadlines(self, trigger: Envelope) -> Iterator[Park]:
        """Set the deadlines that count from this event; yield those that cannot say how long."""
        rules, memory = self.saga.rules, self.saga.memory
        for handler in rules.reactions[trigger.type].deadlines:
            step = (handler.name, trigger.branch, trigger.event_id)
            key: TimerKey = (TimerKind.DEADLINE, *step, 0)
            if key in memory.timers or step in memory.fences or not self._may_set(after_abort=handler.after_abort):
                continue
            if self.saga.first(rules.awaits[handler.name], trigger.branch) is not None:
                continue
            try:
                within = handler.within(trigger.event) if callable(handler.within) else handler.within
                due_ms = milliseconds(trigger.occurred_at + cast("timedelta", within))
            except Exception as error:  # noqa: BLE001 - a function of the user's.
                run = Run(handler, step, trigger, (trigger,), (trigger,), crc32(trigger.body))
                yield Park(run, f"within= of {rules.service}.{handler.name} raised {error!r} for {trigger.type}")
                continue
            memory.timers[key] = Timer(due_ms, record(trigger, body=True))

    def take_deadline(self, key: TimerKey) -> Run | Park | None:
        """Take a deadline that is due off the memory and return its step; None where its handler is gone.

        Raises:
            UndecodableRecord: If its event cannot be read any more.
        """
        rules = self.saga.rules
        _, name, branch, trigger, _ = key
        recorded = self.saga.memory.timers.pop(key).event
        handler = rules.handlers.get(name)
        if handler is None or recorded is None:
            return None
        event = self.saga.recall(recorded)
        run = Run(handler, (name, branch, trigger), event, (event,), (event,), crc32(event.body))
        return Park(run, rules.too_far(name, event.hop)) if event.hop >= rules.hops_max else run

    def set_later(self, run: Run, envelope: Envelope, later: Later[Event]) -> Note:
        """Set an event down for later, unless it is called off already (rule 24); return the note that says so."""
        memory = self.saga.memory
        unless = names(later.named)
        came = next((each.type for each in memory.events.values() if each.type in unless), "")
        if came or not self._may_set(after_abort=False):
            why = f"{came} came first" if came else "nothing is set once a saga has failed or ended"
            return self.saga.dropped(run, envelope, f"{envelope.type} was to come later, and {why}")
        due = later.at if later.at is not None else envelope.occurred_at + cast("timedelta", later.after)
        step = (TimerKind.LATER, *run.key)
        index = sum(key[:4] == step for key in memory.timers)
        kept = record(envelope, body=True, mine=True, step=run.key[0], trigger=run.key[2])
        memory.timers[*step, index] = Timer(milliseconds(due), kept, tuple(sorted(unless)))
        reason = f"{envelope.type} is due at {due.isoformat(timespec='seconds')}"
        return self.saga.note("delayed", run, reason)._replace(part=envelope.event_id)

    def _may_set(self, *, after_abort: bool) -> bool:
        """Return whether a timer may still be set in this saga (rule 24)."""
        memory = self.saga.memory
        over = memory.ended_ms or memory.terminal_id
        return not over and (after_abort or not memory.flags & MemoryFlag.ABORTED)
