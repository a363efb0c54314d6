"""A service, resolved: what the runtime, the publisher and the manifest work from.

The `Declaration` record and what follows from it at once live here; `resolution` makes it from what people wrote, and
`validation` says what is wrong with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from choreo.event import Event
from choreo.handler import EventTypes, Handler, Kind
from choreo.saga import Saga
from choreo.service.context import State
from choreo.service.providers import Provider


@dataclass(frozen=True, kw_only=True, eq=False)
class Declaration:
    """One service, resolved."""

    name: str  # The service, and its consumer group.
    version: str  # As it was given, else a digest of all that is declared, event schemas included.
    handlers: tuple[Handler, ...] = ()  # In the order they were written.
    sagas: tuple[Saga, ...] = ()  # Saga types that it owns.
    providers: tuple[Provider, ...] = ()  # Resources, each behind those it asks for.
    # Events that come from outside into a running saga through this service, and who decides about them.
    publishes: Mapping[type[Event], str] = field(default_factory=dict)
    state: type[State] | None = None  # The `State` of its handlers, if they have one.
    place: str = ""  # `file.py:line` of the service.

    @cached_property
    def emits(self) -> EventTypes:
        """Event types that its handlers may emit."""
        return frozenset(event_type for handler in self.handlers for event_type in handler.emits)

    @cached_property
    def consumes(self) -> EventTypes:
        """Event types that it must read.

        These are what handlers take, what they or deadlines look out for, the starts of its saga types, and originals
        that come from outside. An original that its own steps emit is recorded when it is committed.
        """
        compensations = [handler for handler in self.handlers if handler.kind is Kind.COMPENSATION]
        emitted = {each for handler in self.handlers if handler not in compensations for each in handler.emits}
        originals = {each for handler in compensations for each in handler.original}
        taken = {event_type for handler in self.handlers for event_type in _taken(handler)}
        return frozenset(taken | self._starts | (originals - emitted))

    @cached_property
    def event_types(self) -> tuple[type[Event], ...]:
        """Every event type that it names, by name."""
        originals = {each for handler in self.handlers for each in handler.original}
        ends = {each for saga in self.sagas for each in (*saga.completes, *saga.fails)}
        named = self.consumes | self.emits | originals | ends | self.publishes.keys()
        return tuple(sorted(named, key=lambda event_type: event_type.__choreo_type__))

    @cached_property
    def topics_in(self) -> tuple[str, ...]:
        """Topics of what it consumes, sorted."""
        return _topics(self.consumes)

    @cached_property
    def topics_out(self) -> tuple[str, ...]:
        """Topics of what it or its publisher emits, sorted."""
        return _topics(self.emits | self._starts | self.publishes.keys())

    @property
    def _starts(self) -> EventTypes:
        return frozenset(saga.starts for saga in self.sagas)

    def provider(self, resource: type[Any]) -> Provider | None:
        """Return what provides resources of this type, if anything does."""
        return next((each for each in self.providers if each.type is resource), None)


def _taken(handler: Handler) -> EventTypes:
    # What an otherwise handler takes has been taken by the step that it stands in for.
    waits = () if handler.kind is Kind.OTHERWISE else handler.waits_for
    return handler.unless.union(handler.awaits, handler.causes, *waits, *handler.extras)


def _topics(event_types: Iterable[type[Event]]) -> tuple[str, ...]:
    return tuple(sorted({event_type.__choreo_topic__ for event_type in event_types}))
