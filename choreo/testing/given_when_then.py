"""One service, tested alone: given these events, when this comes, then it emits that.

The words of such a test live here; what they drive is a `Scenario` of the one service, plan, settle, memory and timers
of production among it. For a single call of a function, call it, with a `context` where it takes one.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from choreo.errors import ChoreoError
from choreo.event import Envelope, Event, saga_id_for, start_event_id
from choreo.records import JOURNAL
from choreo.service import Declaration, Service
from choreo.testing.scenario import Scenario
from choreo.transport import Record

SAGA_ID = "018f0000-0000-7000-8000-000000000000"
"""The saga, where no key says which."""
SOURCE = "/given"
"""The source of the events that a test publishes."""
T = TypeVar("T")
_IDS = uuid.UUID("018f0000-0000-7000-8000-000000000001")


def given(service: Service, *events: Event) -> "Case":
    """Begin a test of one service, which has read these events of a saga, in this order.

    What its handlers made of them is done: their events are recorded, as in production, and `then` does not ask for
    them. The service's own events follow from what it reads, and are not given.
    """
    return Case(service, events)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A test of one service: what it has read, what comes then, and what it must emit.

    Args:
        service: The service.
        history: What it has read.
        happenings: What comes then: events, or time that passes.
        used: Resources that stand in for the real ones, by type.
    """

    service: Service
    history: tuple[Event, ...]
    happenings: tuple[Event | timedelta, ...] = ()
    used: tuple[tuple[type, object], ...] = ()

    def using(self, kind: type[T], instance: T) -> "Case":
        """Let an instance stand in for a provided resource."""
        return replace(self, used=(*self.used, (kind, instance)))

    def when(self, *events: Event) -> "Case":
        """Have events come next; what is due at once is done, and no time passes."""
        return replace(self, happenings=(*self.happenings, *events))

    def after(self, by: timedelta) -> "Case":
        """Let time pass: retries, deadlines and delayed events fall due."""
        return replace(self, happenings=(*self.happenings, by))

    def then(self, *expected: Event | type[Event]) -> None:
        """Assert what the service emits to all that came behind what was given: these events, in order, and no others.

        Args:
            expected: An event must be equal; of a type, any will do. Nothing for nothing.

        Raises:
            AssertionError: Says what it emitted instead, and what its journal tells of it.
            ChoreoError: If an event comes that the service does not read.
        """
        emitted, noted = self._run()
        fits = [event == want or type(event) is want for event, want in zip(emitted, expected, strict=False)]
        if len(emitted) != len(expected) or not all(fits):
            lines = [
                f"{self.service.name} emitted {_listed(emitted)}",
                f"and was to emit {_listed(expected)}",
                *(["its journal has"] if noted else []),
                *(f"  {each}" for each in noted),
            ]
            raise AssertionError("\n".join(lines))

    def _run(self) -> tuple[list[Event], list[str]]:
        """Return what is emitted and what is noted behind what was given."""
        events = [*self.history, *(each for each in self.happenings if isinstance(each, Event))]
        with _ServiceScenario(self.service, park=True) as scenario:
            for kind, instance in self.used:
                scenario.replace(self.service, kind, instance)
            scenario.begin(events)
            for each in self.history:
                scenario.publish_to_service(each)
            emitted, noted = scenario.emitted()
            for happening in self.happenings:
                if isinstance(happening, Event):
                    scenario.publish_to_service(happening)
                else:
                    scenario.advance(happening)
            now_emitted, now_noted = scenario.emitted()
            return now_emitted[len(emitted) :], now_noted[len(noted) :]


class _ServiceScenario(Scenario):
    """A scenario of one service, into which the events of one saga are published as other services would."""

    def begin(self, events: Sequence[Event]) -> None:
        """Say which events will come.

        Raises:
            ChoreoError: If the service does not read one of them.
        """
        [own] = self._compiled.declarations
        for each in events:
            _refuse_unread(own, type(each))
        self._events_published = 0
        self._of = next((found for each in events if (found := self._starts.get(type(each))) is not None), None)
        start = next((each for each in events if self._of is not None and type(each) is self._of.starts), None)
        self._key = str(getattr(start, self._of.key)) if self._of is not None and self._of.key is not None else ""
        self._saga_id = saga_id_for(self._of.name, self._key) if self._of is not None and self._key else SAGA_ID

    def publish_to_service(self, event: Event) -> None:
        """Have an event come next, and what is due at once done."""
        self.broker.write([self._compiled.codec.outgoing(self._envelope(event))])
        self.advance(timedelta(0))

    def emitted(self) -> tuple[list[Event], list[str]]:
        """Return what the service has emitted so far, and what it has noted."""
        emitted = [each.event for each in self.events_of(self._saga_id) if each.source != SOURCE]
        return emitted, [_noted(each) for each in self.broker.records(JOURNAL)]

    def _envelope(self, event: Event) -> Envelope:
        self._events_published += 1
        starts = self._of is not None and type(event) is self._of.starts
        return Envelope(
            event=event,
            body=self._compiled.codec.encode(event),
            event_id=start_event_id(self._saga_id) if starts else str(uuid.uuid5(_IDS, str(self._events_published))),
            type=event.__choreo_type__,
            saga_id=self._saga_id,
            saga_type=self._of.name if self._of is not None else "",
            business_key=self._key,
            source=SOURCE,
            occurred_at=self.now,
        )


def _refuse_unread(own: Declaration, kind: type[Event]) -> None:
    if kind in own.consumes:
        return
    emitters = [each.name for each in own.handlers if kind in each.emits]
    if emitters:
        fix = f"{' or '.join(emitters)} emits it: give what makes it do so"
    else:
        fix = f"it reads {', '.join(sorted(each.__name__ for each in own.consumes)) or 'nothing'}"
    raise ChoreoError(f"{own.name} does not read {kind.__name__}; {fix}")


def _noted(record: Record) -> str:
    """Return a note of the journal in words."""
    body = json.loads(record.value or b"{}")
    return f"{body['note']} {body['handler']}: {body['error'] or body['reason'] or body['event_type']}"


def _listed(events: Sequence[Event | type[Event]]) -> str:
    return ", ".join(each.__name__ if isinstance(each, type) else repr(each) for each in events) or "nothing"
