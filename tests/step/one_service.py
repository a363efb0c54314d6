"""Drives one service through the pure core, event by event, with its memory encoded and decoded in between."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from choreo import Event, Service
from choreo.codec import Codec, Schemas
from choreo.event import Envelope
from choreo.handler import Role
from choreo.memory import Memory, TimerKind
from choreo.service import declarations
from choreo.step import (
    Branch,
    Call,
    Note,
    Outcome,
    Rules,
    admit,
    call_off,
    due,
    fail,
    fire,
    free,
    park,
    plan,
    reemit,
    settle,
    settle_later,
    skip,
)
from choreo.step.recording import milliseconds

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
        self.now = NOW
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
        call_off(self.rules, self.memory, envelope)
        arrival = envelope if admit(self.rules, self.memory, envelope) else None
        while arrival is not None:
            calls, told = plan(self.rules, self.memory, arrival)
            notes += told
            for call in calls:
                self.outcome(call, published, notes)
            arrival = free(self.rules, self.memory, SAGA_ID)
        self.memory = Memory.decode(before if crash else self.memory.encode())
        if not crash:
            self.notes += notes
            self.emitted += published
        return published

    def outcome(self, call: Call | None, published: list[Envelope], notes: list[Note]) -> None:
        while call is not None:
            outcome = self.take(call)
            published += outcome.events
            notes += outcome.notes
            self.ended += [outcome.ended] if outcome.ended else []
            call = outcome.then

    def wake(self, at: datetime) -> list[Event]:
        """Do what is due by then, in order, with all that it sets free."""
        self.now = at
        published: list[Envelope] = []
        for key in due(self.memory, milliseconds(at)):
            if key not in self.memory.timers:
                continue
            if key[0] is TimerKind.LATER:
                published += settle_later(self.rules, self.memory, SAGA_ID, key, at).events
            else:
                self.outcome(fire(self.rules, self.memory, SAGA_ID, key), published, self.notes)
            while (arrival := free(self.rules, self.memory, SAGA_ID)) is not None:
                for call in plan(self.rules, self.memory, arrival)[0]:
                    self.outcome(call, published, self.notes)
        self.memory = Memory.decode(self.memory.encode())
        self.emitted += published
        return [each.event for each in published]

    def take(self, call: Call) -> Outcome:
        if call.again:
            return reemit(self.rules, self.memory, call)
        if call.skip:
            return skip(self.rules, self.memory, call)
        if call.error:
            return park(self.rules, self.memory, call, RuntimeError(call.error))
        self.calls.append(call)
        try:
            result = call.handler.function(*self.arguments(call))
        except RuntimeError as error:
            return fail(self.rules, self.memory, call, error, self.now)
        returned = result if isinstance(result, tuple) else (result,)
        emitted: list[Any] = []
        for each in returned:
            if isinstance(each, list):
                emitted += [Branch(event, path, len(each)) for path, event in enumerate(each)]
            elif each is not None:
                emitted.append(each)
        return settle(self.rules, self.memory, call, emitted, self.now)

    def arguments(self, call: Call) -> list[object]:
        events = [
            each.event if isinstance(each, Envelope) else each and [one.event for one in each] for each in call.events
        ]
        if call.stands_for:
            wanted = sum(each.role is Role.EVENT for each in call.handler.parameters)
            return [*events[:wanted], call.failure]
        return events

    def told(self, kind: str) -> list[str]:
        """Handlers that notes of this kind name."""
        return [note.handler for note in self.notes if note.kind == kind]
