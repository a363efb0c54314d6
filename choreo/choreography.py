"""The choreography: all services together, compiled once from what their manifests say.

The graph of events and handlers and every question about it live here; no record, no saga in progress and no service
code does. The runtime asks which saga types concern a service, the tracker what a saga may still come to, and checks,
diagrams and documents ask the rest. Pure: no I/O, no clock.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from choreo.manifest import EmissionManifest, EventManifest, HandlerManifest, Manifest, SagaManifest

Names = frozenset[str]
NOTHING: Names = frozenset()


@dataclass(slots=True, eq=False)
class Node:
    """One handler of one service, compiled.

    Attributes:
        service: The service.
        handler: What the newest manifest that names it says about it.
        current: Whether the newest manifest of its service still names it.
        emits: What any version of it may emit: its events are in the topics for good.
        waited_for: What any version of it waits for.
        waits_for: The types that each parameter takes.
        causes: Of a compensation: what sets it going.
        original: Of a compensation: what it undoes.
        awaits: Of a deadline: what keeps it from firing.
        gathers: Which of `waits_for` is one event from each branch; None where it gathers nothing.
        otherwise: What may come of it in place of `emits`, once its retries are spent.
        guarded: Of an otherwise: the handler that it stands in for.
        stand_in: What runs in its place, once its retries are spent.
        undoers: The compensations of its service that undo what it emits.
        leads: Something that must be undone, or a reason to undo more, may still come of it.
    """

    service: str
    handler: HandlerManifest
    current: bool = True
    emits: Names = NOTHING
    waited_for: Names = NOTHING
    waits_for: tuple[Names, ...] = field(init=False)
    causes: Names = field(init=False)
    original: Names = field(init=False)
    awaits: Names = field(init=False)
    gathers: int | None = field(init=False)
    otherwise: Names = NOTHING
    guarded: "Node | None" = None
    stand_in: "Node | None" = None
    undoers: tuple["Node", ...] = ()
    leads: bool = False

    def __post_init__(self) -> None:
        """Compile what the handler's manifest says."""
        own = self.handler
        self.waits_for = tuple(map(frozenset, own.waits_for))
        self.causes, self.original, self.awaits = map(frozenset, (own.causes, own.original, own.awaits))
        self.emits |= frozenset(own.emits)
        self.waited_for |= NOTHING.union(*self.waits_for)
        # A manifest may say anything, and nothing that reads one falls over it.
        within = own.gathers is not None and 0 <= own.gathers < len(self.waits_for)
        self.gathers = own.gathers if within else None

    @property
    def key(self) -> tuple[str, str]:
        """Return the names of the service and the handler."""
        return self.service, self.handler.name

    @property
    def name(self) -> str:
        """Return `service.handler`."""
        return f"{self.service}.{self.handler.name}"

    @property
    def kind(self) -> str:
        """Return `forward`, `compensation`, `deadline` or `otherwise`; a later version may announce others."""
        return self.handler.kind

    @property
    def parameters(self) -> Sequence[Sequence[str]]:
        """Return what makes it ready, as announced: for each event parameter the types that it takes.

        An otherwise is ready when the handler that it stands in for is; a compensation waits for its cause alone.
        """
        if self.kind == "otherwise":
            return self.guarded.handler.waits_for if self.guarded is not None else ()
        return self.handler.waits_for

    @property
    def keeps(self) -> Names:
        """Return the event types whose bodies its service keeps, because it may be given them later than they come."""
        undone_with = self.causes.union(self.original, *self.handler.extras)
        return undone_with.union(*self.waits_for) if self.kind == "forward" and self.joins else undone_with

    @property
    def emissions(self) -> list[EmissionManifest]:
        """Return everything that it may return, whichever outcome it is part of."""
        return [emission for outcome in self.handler.outcomes for emission in outcome]

    @property
    def opens(self) -> Names:
        """Return the event types that it emits in a list, each of which begins a branch."""
        return NOTHING.union(*(emission.types for emission in self.emissions if emission.opens))

    @property
    def delays(self) -> Names:
        """Return the event types that it lets come later."""
        return NOTHING.union(*(emission.types for emission in self.emissions if emission.later))

    @property
    def outcomes(self) -> list[list[EmissionManifest]]:
        """Return what may come of it, one of these each time, with its retries spent among them."""
        return [*self.handler.outcomes, *(self.stand_in.handler.outcomes if self.stand_in is not None else ())]

    @property
    def joins(self) -> bool:
        """Return whether it waits for more than one event."""
        return len(self.waits_for) > 1 or self.gathers is not None

    @property
    def within_us(self) -> int | None:
        """Return how long after its trigger a deadline is, in microseconds; None where the trigger says how long."""
        within_s = self.handler.within_s
        return round(within_s * 1e6) if within_s is not None and math.isfinite(within_s) else None

    @property
    def takes(self) -> Names:
        """Return every event type that may set it going."""
        return self.causes.union(self.original, *self.waits_for)

    @property
    def reads(self) -> Names:
        """Return every event type that its service reads on its behalf."""
        return self.causes.union(self.handler.unless, self.awaits, *self.waits_for, *self.handler.extras)


@dataclass(frozen=True, slots=True)
class SagaType:
    """A saga type and the service that owns it.

    Args:
        owner: The service.
        manifest: What the owner announced about it.
    """

    owner: str
    manifest: SagaManifest
    completes: Names = field(init=False)
    fails: Names = field(init=False)

    def __post_init__(self) -> None:
        """Compile its ends."""
        object.__setattr__(self, "completes", frozenset(self.manifest.completes))
        object.__setattr__(self, "fails", frozenset(self.manifest.fails))

    @property
    def name(self) -> str:
        """Return its name."""
        return self.manifest.name

    @property
    def starts(self) -> str:
        """Return the event type that starts it."""
        return self.manifest.starts


class Choreography:
    """All services together.

    Several versions of one service are merged, because records of all of them are in the topics: of a handler, event or
    saga type that several name, the last one given counts. What any version emitted, started or called a failure is
    still known.

    Args:
        manifests: In the order in which they were announced.

    Attributes:
        nodes: All handlers.
        events: What is announced about each event type.
        sagas: Saga types by name.
        services: All services.
        outside: The event types that come from outside, and who brings them, in words.
        failures: The event types that any version calls a failure.
        all_topics: Every topic that any version names.
    """

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        known = list(manifests)
        newest = {manifest.service: manifest for manifest in known}
        sagas: dict[str, SagaType] = {}
        events: dict[str, EventManifest] = {}
        self._nodes: dict[tuple[str, str], Node] = {}
        self._seen_by: dict[str, Names] = {}
        self._starts: dict[str, SagaType] = {}
        self._published: dict[str, dict[str, str]] = {}
        self.outside: dict[str, str] = {}
        self.failures: set[str] = set()
        self.all_topics: set[str] = set()
        for manifest in known:
            self._add_handlers(manifest, current=newest[manifest.service] is manifest)
            events |= manifest.events
            self.failures.update(name for name, event in manifest.events.items() if event.failure)
            self.all_topics.update(event.topic for event in manifest.events.values())
            for saga in manifest.sagas:
                self._starts[saga.starts] = sagas[saga.name] = SagaType(manifest.service, saga)
                self.outside.setdefault(saga.starts, manifest.service)
            for name, by in manifest.publishes.items():
                self._published.setdefault(name, {})[manifest.service] = by
                self.outside[name] = by or manifest.service
        self._places = {service: manifest.place for service, manifest in newest.items()}
        self.services = frozenset(newest)
        self.events: Mapping[str, EventManifest] = MappingProxyType(dict(sorted(events.items())))
        self.sagas: Mapping[str, SagaType] = MappingProxyType(dict(sorted(sagas.items())))
        self.nodes = tuple(self._nodes.values())
        self._producers = _index((name, node) for node in self.nodes for name in node.handler.emits)
        self._taken_by = _index((name, node) for node in self.nodes for name in node.takes)
        self.compensations = tuple(node for node in self.nodes if node.current and node.kind == "compensation")
        self.deadlines = tuple(node for node in self.nodes if node.current and node.kind == "deadline")
        self._waiting = _index(
            (name, node)
            for node in self.nodes
            if node.current and node.kind == "forward"
            for name in sorted(NOTHING.union(*node.waits_for))
        )
        self._link_undoers()
        self._mark_leading()
        self._events_of = {name: self._following(saga.starts) for name, saga in self.sagas.items()}
        self._concerned = {name: self._services_reading(name) for name in self.sagas}

    @property
    def topics(self) -> tuple[str, ...]:
        """Return the topics of all events as the newest manifests have them, sorted."""
        return tuple(sorted({event.topic for event in self.events.values()}))

    @property
    def shape(self) -> object:
        """Return all that an answer of the tracker depends on: two of one shape judge alike."""
        nodes = {
            node.key: (
                (node.handler.model_copy(update={"place": ""}), node.current, node.emits, node.waited_for),
                (node.otherwise, node.leads),
            )
            for node in self.nodes
        }
        sagas = {name: (saga.owner, saga.starts, saga.completes, saga.fails) for name, saga in self.sagas.items()}
        return nodes, sagas, self.outside, self.failures, self.events.keys()

    def place(self, service: str) -> str:
        """Return where a service is written, as `file.py:line`; "" where nobody has said."""
        return self._places.get(service, "")

    def node(self, service: str, handler: str) -> Node | None:
        """Return a handler of any version; None where no manifest names it."""
        return self._nodes.get((service, handler))

    def step_of(self, service: str, handler: str) -> Node | None:
        """Return whose step a handler acts for: its own or, of an `otherwise`, that of the handler it stands for."""
        node = self.node(service, handler)
        return node.guarded if node is not None and node.handler.guards else node

    def handlers(self, service: str) -> tuple[Node, ...]:
        """Return a service's handlers."""
        return tuple(node for node in self.nodes if node.service == service)

    def sees(self, service: str) -> Names:
        """Return what the newest version of a service reads or emits."""
        return self._seen_by.get(service, NOTHING)

    def producers(self, event_type: str) -> tuple[Node, ...]:
        """Return the handlers that may emit an event type."""
        return self._producers.get(event_type, ())

    def origin(self, event_type: str) -> str:
        """Return who an event of this type comes from, in words."""
        services = dict.fromkeys(node.service for node in self.nodes if event_type in node.emits)
        return " or ".join(services) or self.outside.get(event_type, "nobody that is known")

    def waiting(self, event_type: str) -> tuple[Node, ...]:
        """Return the forward handlers that wait for an event type, as the newest manifests say."""
        return self._waiting.get(event_type, ())

    def publishers(self, event_type: str) -> Mapping[str, str]:
        """Return the services that publish an event type from outside into running sagas, and who decides there."""
        return MappingProxyType(self._published.get(event_type, {}))

    def compensations_of(self, event_type: str) -> tuple[Node, ...]:
        """Return the compensations that undo an event type."""
        return tuple(node for node in self.nodes if event_type in node.handler.original)

    def caused_by(self, event_type: str) -> tuple[Node, ...]:
        """Return the compensations that an event type sets going."""
        return tuple(node for node in self.nodes if event_type in node.handler.causes)

    def started_by(self, event_type: str) -> SagaType | None:
        """Return the saga type that an event type starts, with its owner."""
        return self._starts.get(event_type)

    def owner(self, saga_type: str) -> str | None:
        """Return the service that owns a saga type; None where nobody has announced it."""
        saga = self.sagas.get(saga_type)
        return None if saga is None else saga.owner

    def events_of(self, saga_type: str) -> Names:
        """Return every event type that a saga of this type may have; empty where nobody has announced it."""
        return self._events_of.get(saga_type, NOTHING)

    def concerns(self, service: str, saga_type: str) -> bool:
        """Return whether a service consumes events of a saga type; True where service or saga type are not known."""
        if saga_type not in self._concerned or service not in self.services:
            return True
        return service in self._concerned[saga_type]

    def _add_handlers(self, manifest: Manifest, *, current: bool) -> None:
        for handler in manifest.handlers:
            known = self.node(manifest.service, handler.name)
            emits, waited_for = (known.emits, known.waited_for) if known is not None else (NOTHING, NOTHING)
            node = Node(manifest.service, handler, current, emits, waited_for)
            self._nodes[node.key] = node
            if current:
                seen = self._seen_by.get(manifest.service, NOTHING)
                self._seen_by[manifest.service] = seen.union(node.reads, handler.emits)

    def _link_undoers(self) -> None:
        """Link each handler to what undoes it and to what stands in for it once its retries are spent."""
        undoers: dict[str, list[Node]] = {}
        for node in self.compensations:
            undoers.setdefault(node.service, []).append(node)
        for node in self.nodes:
            if node.kind in {"forward", "deadline"}:
                own = undoers.get(node.service, ())
                node.undoers = tuple(each for each in own if not each.original.isdisjoint(node.emits))
            elif node.handler.guards and (guarded := self.node(node.service, node.handler.guards)) is not None:
                node.guarded, guarded.stand_in = guarded, node
                guarded.otherwise |= node.emits

    def _mark_leading(self) -> None:
        """Mark what compensable steps may still come of, backwards along the events."""
        steps = [node for node in self.nodes if node.kind in {"forward", "deadline"}]
        emitting = _index((name, node) for node in steps for name in node.emits | node.otherwise)
        causes = NOTHING.union(*(undoer.causes for undoer in self.compensations))
        ahead = [node for node in steps if node.undoers] + [node for name in causes for node in emitting.get(name, ())]
        while ahead:
            node = ahead.pop()
            if not node.leads:
                node.leads = True
                if node.kind == "forward" and node.current:
                    ahead += [each for name in NOTHING.union(*node.waits_for) for each in emitting.get(name, ())]

    def _following(self, start: str) -> Names:
        """Return every event that may follow from a start, itself included.

        One of a join's events is enough to count it in: its other ones may come from a service that has not announced
        itself yet. What comes from outside may come into any saga.
        """
        events = {start, *self._published}
        ahead = list(events)
        while ahead:
            for node in self._taken_by.get(ahead.pop(), ()):
                following = set(node.handler.emits) - events
                events |= following
                ahead += following
        return frozenset(events)

    def _services_reading(self, saga_type: str) -> Names:
        events = self.events_of(saga_type)
        # A service may read an event only to look out for it, and never take a step for this saga.
        readers = {node.service for node in self.nodes if not events.isdisjoint(node.reads | node.takes)}
        return frozenset({self.sagas[saga_type].owner, *readers})


def _index(pairs: Iterable[tuple[str, Node]]) -> dict[str, tuple[Node, ...]]:
    found: dict[str, dict[Node, None]] = {}
    for name, node in pairs:
        found.setdefault(name, {})[node] = None
    return {name: tuple(nodes) for name, nodes in found.items()}
