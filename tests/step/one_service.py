"""Drives one service through the pure core, event by event, with its memory encoded and decoded in between."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

from choreo import Event, Service
from choreo.codec import Codec, Schemas
from choreo.event import Envelope
from choreo.memory import Memory
from choreo.service import declarations
from choreo.step import Call, Note, Outcome, Rules, arrivals, park, plan, reemit, settle, skip

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SAGA_ID = "0198c0de-0000-7000-8000-000000000001"


class OneService:
    """One service's view of one saga; handlers must be plain functions of events."""

    def __init__(self, service: Service, *, saga_type: str = "", **options: Any) -> None:
        self.declaration = declarations(service)[0]
        self.codec = Codec(self.declaration.event_types, Schemas())
        self.rules = Rules(self.declaration, self.codec, **options)
        self.memory = Memory()
        self.saga_type = saga_type
        self.notes: list[Note] = []
        self.ended: list[Envelope] = []
        self.calls: list[Call] = []
        self.emitted: list[Envelope] = []
        self._ids = count(1)

    def envelope(self, event: Event, event_id: str = "", **fields: Any) -> Envelope:
        return Envelope(
            event,
            self.codec.encode(event),
            event_id or f"event-{next(self._ids)}",
            type(event).__choreo_type__,
            SAGA_ID,
            **{"saga_type": self.saga_type, "occurred_at": NOW, **fields},
        )

    def send(self, event: Event, event_id: str = "", **fields: Any) -> list[Event]:
        return [each.event for each in self.deliver(self.envelope(event, event_id, **fields))]

    def deliver(self, envelope: Envelope, *, crash: bool = False) -> list[Envelope]:
        """Deliver one record; with `crash` nothing of it is committed."""
        before = self.memory.encode()
        published: list[Envelope] = []
        notes: list[Note] = []
        for arrival in arrivals(self.rules, self.memory, envelope):
            calls, told = plan(self.rules, self.memory, arrival)
            notes += told
            for call in calls:
                outcome = self.take(call)
                published += outcome.events
                notes += outcome.notes
                self.ended += [outcome.ended] if outcome.ended else []
        self.memory = Memory.decode(before if crash else self.memory.encode())
        if not crash:
            self.notes += notes
            self.emitted += published
        return published

    def take(self, call: Call) -> Outcome:
        if call.again:
            return reemit(self.rules, self.memory, call)
        if call.skip:
            return skip(self.rules, self.memory, call)
        if call.error:
            return park(self.rules, self.memory, call, RuntimeError(call.error))
        self.calls.append(call)
        try:
            result = call.handler.function(*(each and each.event for each in call.events))
        except RuntimeError as error:
            return park(self.rules, self.memory, call, error)
        emitted: Sequence[Event] = () if result is None else result if isinstance(result, tuple) else (result,)
        return settle(self.rules, self.memory, call, emitted, NOW)

    def told(self, kind: str) -> list[str]:
        """Handlers that notes of this kind name."""
        return [note.handler for note in self.notes if note.kind == kind]
