"""One saga as one service remembers it, and the questions that every rule asks of that.

Recording events and making envelopes of them again, scope (SEMANTICS 7) within a memory and notes about its steps live
here; no rule about what runs does. `Participant` makes one `SagaMemory` and shares it with the classes that it is made
of. Pure.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from zlib import crc32

from msgspec import Struct

from choreo.choreography import Names
from choreo.clock import EPOCH, MICROSECOND
from choreo.errors import UndecodableRecord
from choreo.event import Envelope
from choreo.memory import FenceKey, Memory, Recorded
from choreo.records import Note
from choreo.scope import reaches, step_key
from choreo.step.decisions import Reemit, Run, Skip
from choreo.step.rules import Rules
from choreo.tuples import maker

_MILLISECOND = timedelta(milliseconds=1)
# A field that Envelope and Recorded call alike is kept as it is; for the others, `record` and `recall` say how. Both
# put a plain tuple in order: keyword arguments take three times as long.
_KEPT = tuple(name for name in Envelope._fields if name in Recorded._fields and name != "body")
_RECORDED = (*_KEPT, "occurred_us", "body", "check", "mine", "read", "step", "trigger")
_RECALLED = (*_KEPT, "event", "body", "saga_id", "occurred_at")
_kept = attrgetter(*_KEPT)
_in_recorded_order = itemgetter(*map(_RECORDED.index, Recorded._fields))
_in_envelope_order = itemgetter(*map(_RECALLED.index, Envelope._fields))
_recorded, _envelope = maker(Recorded), maker(Envelope)


def record(envelope: Envelope, *, body: bool, mine: bool = False, step: str = "", trigger: str = "") -> Recorded:
    """Return what memory keeps of an event.

    Args:
        envelope: The event.
        body: Whether a handler may ask for it again.
        mine: It is this service's own, and has not been read back yet.
        step: The handler whose step emitted it.
        trigger: The trigger of that step.
    """
    occurred_us, kept_body = (envelope.occurred_at - EPOCH) // MICROSECOND, envelope.body if body else b""
    own = (occurred_us, kept_body, crc32(envelope.body), mine, not mine, step, trigger)
    return _recorded(_in_recorded_order((*_kept(envelope), *own)))


def milliseconds(moment: datetime) -> int:
    """Return a moment as timers have it, rounded up; never 0, which means none."""
    return max(-((EPOCH - moment) // _MILLISECOND), 1)


class SagaMemory(Struct):
    """A memory with the rules of its service.

    Attributes:
        rules: The service, compiled.
        memory: What it remembers of the saga.
        saga_id: The saga.
        saga_type: The saga's type, as the last event said that names it; "" before.
    """

    rules: Rules
    memory: Memory
    saga_id: str
    saga_type: str = ""

    def recall(self, recorded: Recorded) -> Envelope:
        """Return a recorded event as an envelope again.

        Raises:
            UndecodableRecord: If its type is not known here any more, or it was written otherwise.
        """
        self.saga_type = recorded.saga_type or self.saga_type
        event = self.rules.codec.decode(recorded.type, recorded.body)
        occurred_at = EPOCH + timedelta(microseconds=recorded.occurred_us)
        return _envelope(_in_envelope_order((*_kept(recorded), event, recorded.body, self.saga_id, occurred_at)))

    def recall_all(self, recorded: Iterable[Recorded]) -> tuple[Envelope, ...]:
        """Return those recorded events whose bodies are kept, as envelopes."""
        return tuple(self.recall(each) for each in recorded if each.body)

    def keep(self, envelope: Envelope) -> str:
        """Record an event with its body, because a step that waits needs it; return its id."""
        events = self.memory.events
        known = events.get(envelope.event_id)
        if known is None:
            events[envelope.event_id] = record(envelope, body=True)
        elif not known.body:
            events[envelope.event_id] = known._replace(body=envelope.body)
        return envelope.event_id

    def make_room(self) -> None:
        """Refuse to remember more than `waiting_max` events of a saga (rule 6).

        Raises:
            UndecodableRecord: If that many are remembered; the record belongs into the dead letters.
        """
        count = len(self.memory.events) + len(self.memory.held)
        if count >= self.rules.waiting_max:
            text = f"{count} events of this saga are remembered already (waiting_max)"
            raise UndecodableRecord("waiting-full", text)

    def first(self, types: Names, branch: str) -> Recorded | None:
        """Return the first recorded event of these types that counts in this branch (rule 7)."""
        failures = self.rules.failures
        for recorded in self.memory.events.values():
            if recorded.type in types and reaches(recorded, branch, failures):
                return recorded
        return None

    def step_key(self, key: FenceKey) -> str:
        """Return a step's idempotency key."""
        handler, branch, trigger = key
        return step_key(self.saga_id, f"{self.rules.service}.{handler}", branch, trigger)

    def ran(self, handlers: Collection[str], branch: str, trigger: str) -> bool:
        """Return whether one of these handlers has left a fence for a trigger in a branch."""
        fences = self.memory.fences
        return any((name, branch, trigger) in fences for name in handlers)

    def note(self, kind: str, step: Run | Skip | Reemit, reason: str = "") -> Note:
        """Return a journal note about a step, with the reason for people."""
        ids = tuple(each.event_id for each in step.causes)
        note = Note(kind, *step.key, self.step_key(step.key), ids, reason, command_id=step.command_id)
        if (ready := step.ready) is None:
            return note
        return note._replace(causes=ids or (ready.event_id,), event_type=ready.type, event_id=ready.event_id)

    def dropped(self, step: Run | Reemit, event: Envelope, reason: str) -> Note:
        """Return the note that an event of a step is not emitted, with the reason."""
        return self.note("dropped", step, reason)._replace(event_type=event.type, event_id=event.event_id)
