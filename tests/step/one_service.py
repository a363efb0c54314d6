"""Drives one service through the pure core, event by event, with its memory encoded and decoded in between."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from choreo import Event, Service
from choreo.codec import Codec, Schemas
from choreo.event import Envelope
from choreo.handler import Role
from choreo.memory import Memory
from choreo.records import Note
from choreo.service import declarations
from choreo.step import Branch, Decision, Outcome, Participant, Rules, Run, SagaMemory
from choreo.step.saga_memory import milliseconds

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
        self.calls: list[Run] = []
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
        one = Participant(SagaMemory(self.rules, self.memory, SAGA_ID))
        outcome: Outcome | None = one.event_arrived(envelope)
        while outcome is not None:
            self.carry_out(one, outcome, published, notes)
            outcome = one.held_event_released()
        self.memory = Memory.decode(before if crash else self.memory.encode())
        if not crash:
            self.notes += notes
            self.emitted += published
        return published

    def carry_out(self, one: Participant, outcome: Outcome, published: list[Envelope], notes: list[Note]) -> None:
        published += outcome.events
        notes += outcome.notes
        self.ended += [outcome.ended] if outcome.ended else []
        for step in outcome.steps:
            self.carry_out(one, self.take(one, step), published, notes)

    def wake(self, at: datetime) -> list[Event]:
        """Do what is due by then, in order, with all that it sets free."""
        self.now = at
        published: list[Envelope] = []
        one = Participant(SagaMemory(self.rules, self.memory, SAGA_ID))
        for key in one.timers_due(milliseconds(at)):
            outcome: Outcome | None = one.timer_due(key, at)
            while outcome is not None:
                self.carry_out(one, outcome, published, self.notes)
                outcome = one.held_event_released()
        self.memory = Memory.decode(self.memory.encode())
        self.emitted += published
        return [each.event for each in published]

    def take(self, one: Participant, step: Decision) -> Outcome:
        if not isinstance(step, Run):
            return one.not_run(step)
        self.calls.append(step)
        try:
            result = step.handler.function(*self.arguments(step))
        except RuntimeError as error:
            return one.attempt_failed(step, error, self.now)
        returned = result if isinstance(result, tuple) else (result,)
        emitted: list[Any] = []
        for each in returned:
            if isinstance(each, list):
                emitted += [Branch(event, path, len(each)) for path, event in enumerate(each)]
            elif each is not None:
                emitted.append(each)
        return one.attempt_returned(step, emitted, self.now)

    def arguments(self, run: Run) -> list[object]:
        events = [
            each.event if isinstance(each, Envelope) else each and [one.event for one in each] for each in run.events
        ]
        if run.handler.guards:
            wanted = sum(each.role is Role.EVENT for each in run.handler.parameters)
            return [*events[:wanted], run.failure]
        return events

    def told(self, kind: str) -> list[str]:
        """Handlers that notes of this kind name."""
        return [note.handler for note in self.notes if note.kind == kind]
