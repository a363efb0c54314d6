"""The choreography: all services together, as their manifests tell.

The graph of events and handlers and the questions about it live here; no record, no saga and no service code does.
The runtime asks which saga types concern a service; `describe`, checks and diagrams ask the rest. Pure: no I/O, no
clock.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from choreo.manifest import EventManifest, HandlerManifest, Manifest, SagaManifest


class Step(NamedTuple):
    """One handler of one service.

    Attributes:
        service: The service.
        handler: What it announced about it.
    """

    service: str
    handler: HandlerManifest

    @property
    def name(self) -> str:
        """Return `service.handler`."""
        return f"{self.service}.{self.handler.name}"

    @property
    def takes(self) -> frozenset[str]:
        """Return every event type that may set it going."""
        own = self.handler
        return frozenset(own.causes).union(own.original, *own.waits_for)

    @property
    def reads(self) -> frozenset[str]:
        """Return every event type that its service reads on its behalf."""
        own = self.handler
        return frozenset(own.causes).union(own.unless, own.awaits, *own.waits_for, *own.extras)


class Owned(NamedTuple):
    """A saga type and the service that owns it."""

    owner: str
    saga: SagaManifest


class Choreography:
    """All services together.

    Several versions of one service are merged, because records of all of them are in the topics: of a handler, event or
    saga type that several name, the last one given counts.

    Args:
        manifests: In the order in which they were announced.
    """

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        steps: dict[tuple[str, str], Step] = {}
        sagas: dict[str, Owned] = {}
        events: dict[str, EventManifest] = {}
        self._published: dict[str, dict[str, str]] = {}
        self._places: dict[str, str] = {}
        for each in manifests:
            self._places[each.service] = each.place
            events |= each.events
            steps |= {(each.service, handler.name): Step(each.service, handler) for handler in each.handlers}
            sagas |= {saga.name: Owned(each.service, saga) for saga in each.sagas}
            for name, by in each.publishes.items():
                self._published.setdefault(name, {})[each.service] = by
        self.services = frozenset(self._places)
        self.events: Mapping[str, EventManifest] = MappingProxyType(dict(sorted(events.items())))
        self.sagas: Mapping[str, Owned] = MappingProxyType(dict(sorted(sagas.items())))
        self.steps = tuple(steps.values())
        self._producers = _index((name, step) for step in self.steps for name in step.handler.emits)
        self._consumers = _index((name, step) for step in self.steps for name in step.reads)
        self._taken_by = _index((name, step) for step in self.steps for name in step.takes)
        self._starts = {owned.saga.starts: owned for owned in self.sagas.values()}
        self._downstream = {name: self._flood(owned.saga.starts) for name, owned in self.sagas.items()}
        self._concerned = {name: self._services_reading(name) for name in self.sagas}

    @property
    def topics(self) -> tuple[str, ...]:
        """Return the topics of all events, sorted."""
        return tuple(sorted({event.topic for event in self.events.values()}))

    def place(self, service: str) -> str:
        """Return where a service is written, as `file.py:line`; "" where nobody has said."""
        return self._places.get(service, "")

    def handlers(self, service: str) -> tuple[Step, ...]:
        """Return a service's handlers."""
        return tuple(step for step in self.steps if step.service == service)

    def producers(self, event_type: str) -> tuple[Step, ...]:
        """Return the handlers that may emit an event type."""
        return self._producers.get(event_type, ())

    def consumers(self, event_type: str) -> tuple[Step, ...]:
        """Return the handlers for whose sake an event type is read, `unless` and deadlines included."""
        return self._consumers.get(event_type, ())

    def publishers(self, event_type: str) -> Mapping[str, str]:
        """Return the services that publish an event type from outside into running sagas, and who decides there."""
        return MappingProxyType(self._published.get(event_type, {}))

    def compensations_of(self, event_type: str) -> tuple[Step, ...]:
        """Return the compensations that undo an event type."""
        return tuple(step for step in self.steps if event_type in step.handler.original)

    def caused_by(self, event_type: str) -> tuple[Step, ...]:
        """Return the compensations that an event type sets going."""
        return tuple(step for step in self.steps if event_type in step.handler.causes)

    def started_by(self, event_type: str) -> Owned | None:
        """Return the saga type that an event type starts, with its owner."""
        return self._starts.get(event_type)

    def owner(self, saga_type: str) -> str | None:
        """Return the service that owns a saga type; None where nobody has announced it."""
        owned = self.sagas.get(saga_type)
        return None if owned is None else owned.owner

    def downstream(self, saga_type: str) -> tuple[Step, ...]:
        """Return every step that a saga of this type may take, nearest to its start first."""
        return self._downstream.get(saga_type, ())

    def events_of(self, saga_type: str) -> frozenset[str]:
        """Return every event type that a saga of this type may have; empty where nobody has announced it."""
        if saga_type not in self.sagas:
            return frozenset()
        emitted = (step.handler.emits for step in self._downstream[saga_type])
        return frozenset({self.sagas[saga_type].saga.starts}).union(self._published, *emitted)

    def concerned(self, saga_type: str) -> frozenset[str]:
        """Return the services that consume events of a saga type, its owner included."""
        return self._concerned.get(saga_type, frozenset())

    def concerns(self, service: str, saga_type: str) -> bool:
        """Return whether a service consumes events of a saga type; True where service or saga type are not known."""
        if saga_type not in self._concerned or service not in self.services:
            return True
        return service in self._concerned[saga_type]

    def _flood(self, start: str) -> tuple[Step, ...]:
        """Return what may follow from a start, level by level.

        One of a join's events is enough to count it in: its other ones may come from a service that has not announced
        itself yet. What comes from outside may come into any saga.
        """
        found: dict[tuple[str, str], Step] = {}
        level = [start, *sorted(self._published)]
        seen = set(level)
        while level:
            following: list[str] = []
            for name in level:
                for step in self._taken_by.get(name, ()):
                    if (step.service, step.handler.name) in found:
                        continue
                    found[step.service, step.handler.name] = step
                    following += [each for each in step.handler.emits if each not in seen]
                    seen.update(step.handler.emits)
            level = following
        return tuple(found.values())

    def _services_reading(self, saga_type: str) -> frozenset[str]:
        events = self.events_of(saga_type)
        # A service may read an event only to look out for it, and never take a step for this saga.
        readers = {step.service for step in self.steps if not events.isdisjoint(step.reads | step.takes)}
        return frozenset({self.sagas[saga_type].owner, *readers})


def _index(pairs: Iterable[tuple[str, Step]]) -> dict[str, tuple[Step, ...]]:
    found: dict[str, dict[str, Step]] = {}
    for name, step in pairs:
        found.setdefault(name, {})[step.name] = step
    return {name: tuple(steps.values()) for name, steps in found.items()}
