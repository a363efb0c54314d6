"""A service, read: what the runtime, the publisher and the manifest work from.

The `Declaration` record and what follows from it at once live here; how it is made from what people wrote does not
(`reading`), nor what is wrong with it (`wiring`, `between`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from choreo.event import Event
from choreo.handler import Handler, Kind
from choreo.saga import Saga
from choreo.service.context import State
from choreo.service.providers import Provider

EventTypes = frozenset[type[Event]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Declaration:
    """One service, resolved.

    Attributes:
        name: The service, and its consumer group.
        version: As it was given, else a digest of all that is declared, event schemas included.
        handlers: In the order they were written.
        sagas: Saga types that it owns.
        providers: Resources, each behind those it asks for.
        publishes: Events that come from outside into a running saga through this service, and who decides about them.
        state: The `State` of its handlers, if they have one.
        place: `file.py:line` of the service.
        consumes: Event types that must be read: what handlers take, what they or deadlines look out for, the starts of
            its saga types, and originals that come from outside.
        emits: Event types that its handlers may emit.
        event_types: Every event type that it names, by name.
        topics_in: Topics of what it consumes, sorted.
        topics_out: Topics of what it or its publisher emits, sorted.
    """

    name: str
    version: str
    handlers: tuple[Handler, ...] = ()
    sagas: tuple[Saga, ...] = ()
    providers: tuple[Provider, ...] = ()
    publishes: Mapping[type[Event], str] = field(default_factory=dict)
    state: type[State] | None = None
    place: str = ""
    consumes: EventTypes = field(init=False)
    emits: EventTypes = field(init=False)
    event_types: tuple[type[Event], ...] = field(init=False)
    topics_in: tuple[str, ...] = field(init=False)
    topics_out: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Work out what is asked for again and again."""
        starts = {saga.starts for saga in self.sagas}
        ends = {kind for saga in self.sagas for kind in (*saga.completes, *saga.fails)}
        emits = frozenset(kind for each in self.handlers for kind in each.emits)
        forward = {kind for each in self.handlers if each.kind is not Kind.COMPENSATION for kind in each.emits}
        originals = {kind for each in self.handlers for kind in each.original}
        taken = {kind for each in self.handlers for kind in _taken(each)}
        # What its own steps emit is recorded when it is committed; what comes from outside must be read to be undone.
        consumes = frozenset(taken | starts | (originals - forward))
        named = consumes | emits | originals | ends | self.publishes.keys()
        self._set("consumes", consumes)
        self._set("emits", emits)
        self._set("event_types", tuple(sorted(named, key=lambda kind: kind.__choreo_type__)))
        self._set("topics_in", _topics(consumes))
        self._set("topics_out", _topics(emits | starts | self.publishes.keys()))

    def saga_started_by(self, kind: type[Event]) -> Saga | None:
        """Return the saga type of this service that an event starts, if any."""
        return next((saga for saga in self.sagas if saga.starts is kind), None)

    def handler(self, name: str) -> Handler | None:
        """Return the handler of this name, if any."""
        return next((each for each in self.handlers if each.name == name), None)

    def provider(self, kind: type[Any]) -> Provider | None:
        """Return what provides resources of this type, if anything does."""
        return next((each for each in self.providers if each.type is kind), None)

    def _set(self, name: str, value: object) -> None:
        # A frozen record is filled once, here.
        object.__setattr__(self, name, value)


def _taken(handler: Handler) -> EventTypes:
    # What an otherwise handler takes has been taken by the step that it stands for.
    waits = () if handler.kind is Kind.OTHERWISE else handler.waits_for
    return handler.unless.union(handler.awaits, handler.causes, *waits, *handler.extras)


def _topics(kinds: frozenset[type[Event]]) -> tuple[str, ...]:
    return tuple(sorted({kind.__choreo_topic__ for kind in kinds}))
