"""The graph of all services, merged from their manifests.

Who emits, takes and publishes what is kept here, and what may follow from that; what one handler does is not (`nodes`).
Several versions of a service are one: what any of them did is in the topics.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import cached_property
from types import MappingProxyType

from choreo.choreography.nodes import NOTHING, Names, Node, SagaType
from choreo.manifest import EventManifest, Manifest


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
        failing: Those that the newest manifest that names them does.
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
        self.failing = frozenset(name for name, event in events.items() if event.failure)
        self.nodes = tuple(self._nodes.values())
        self._producers = _index((name, node) for node in self.nodes for name in node.handler.emits)
        self.compensations = tuple(node for node in self.nodes if node.current and node.kind == "compensation")
        self.deadlines = tuple(node for node in self.nodes if node.current and node.kind == "deadline")
        self._waiting = _index(
            (name, node)
            for node in self.nodes
            if node.current and node.kind == "forward"
            for name in sorted(NOTHING.union(*node.waits_for))
        )
        self._link_undoers()
        self._taken_by = _index((name, node) for node in self.nodes for name in node.takes)
        self._mark_leading()
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

    def takers(self, event_type: str) -> tuple[Node, ...]:
        """Return the handlers that an event type may make ready, or have undone."""
        return self._taken_by.get(event_type, ())

    def compensations_of(self, event_type: str) -> tuple[Node, ...]:
        """Return the compensations that undo an event type."""
        return tuple(node for node in self.nodes if event_type in node.handler.original)

    def caused_by(self, event_type: str) -> tuple[Node, ...]:
        """Return the compensations that an event type sets going."""
        return tuple(node for node in self.nodes if event_type in node.handler.causes)

    def started_by(self, event_type: str) -> SagaType | None:
        """Return the saga type that an event type starts, with its owner."""
        return self._starts.get(event_type)

    def events_of(self, saga_type: str) -> Names:
        """Return every event type that a saga of this type may have; empty where nobody has announced it.

        One of a join's events is enough to count it in: its other ones may come from a service that has not announced
        itself yet. What comes from outside may come into any saga.
        """
        if saga_type not in self.sagas:
            return NOTHING
        events = {self.sagas[saga_type].starts, *self._published}
        ahead = list(events)
        while ahead:
            for node in self.takers(ahead.pop()):
                following = set(node.handler.emits) - events
                events |= following
                ahead += following
        return frozenset(events)

    def concerns(self, service: str, saga_type: str) -> bool:
        """Return whether a service consumes events of a saga type; True where service or saga type are not known."""
        if saga_type not in self._concerned or service not in self.services:
            return True
        return service in self._concerned[saga_type]

    def reached(self, come: AbstractSet[str], without: Names = NOTHING, apart: Names = NOTHING) -> dict[str, Node]:
        """Return the handlers that may run once some events have come, the nearest first, by name.

        Args:
            come: What has come.
            without: What never comes.
            apart: What does not come in the branch that is asked about, so that it brings a fan-in nothing.
        """
        known, steps = set(come) - without, dict[str, Node]()
        level = sorted(known)
        while level:
            ready = dict.fromkeys(node for name in level for node in self.takers(name))
            level = []
            for node in ready:
                if node.name not in steps and node.ready(known, apart):
                    steps[node.name] = node
                    level += [each for each in node.handler.emits if each not in known and each not in without]
            known.update(level)
        return steps

    @cached_property
    def brought(self) -> Names:
        """Return the event types that are emitted, published or start a saga here."""
        return frozenset(self._producers.keys() | self.outside.keys())

    @cached_property
    def read(self) -> Names:
        """Return the event types that some service reads for the sake of a handler."""
        return NOTHING.union(*(node.reads for node in self.nodes))

    @cached_property
    def taken(self) -> Names:
        """Return the event types that some handler reacts to, undoes or looks out for."""
        return self.read.union(*(node.original for node in self.nodes))

    @cached_property
    def missing(self) -> Names:
        """Return the event types that handlers wait for and that come from no service here."""
        return NOTHING.union(*(node.wants for node in self.nodes)) - self.brought

    @cached_property
    def absent(self) -> Names:
        """Return those of the missing event types that a service may bring that is not here.

        An event whose topic a service here emits to, or that ends a saga owned here, is expected from no other service.
        """
        ends = NOTHING.union(*(saga.completes | saga.fails for saga in self.sagas.values()))
        topics = {self._topic(name) for name in self.brought}
        return frozenset(name for name in self.missing if self._topic(name) not in topics) - ends

    @property
    def published(self) -> AbstractSet[str]:
        """Return the event types that services publish from outside into running sagas."""
        return self._published.keys()

    def published_into(self, saga_type: str) -> Names:
        """Return what comes from outside into sagas of one type, starts aside.

        A service publishes into sagas that it has a part in; one that has a part in none, into any.
        """
        anywhere = NOTHING.union(*self._parts.values())
        return frozenset(
            name
            for name, by in self._published.items()
            if not self._parts[saga_type].isdisjoint(by) or anywhere.isdisjoint(by)
        )

    @cached_property
    def _parts(self) -> Mapping[str, Names]:
        """Return for each saga type the services that have a part in it, whatever comes from outside."""
        return {
            name: frozenset({saga.owner, *(node.service for node in self.reached({saga.starts}).values())})
            for name, saga in self.sagas.items()
        }

    def _topic(self, event_type: str) -> str:
        """Return where an event type travels, which only those announce who name it."""
        known = self.events.get(event_type)
        return known.topic if known is not None else ""

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
