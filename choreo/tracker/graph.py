"""The choreography as the projection asks it.

Manifests compiled into tables by event type live here; no record and no saga does. `follower` and `reading` build
one graph whenever manifests change, and `projection` reads it. The newest manifest of a service says what it does;
older ones still say what it was allowed to emit, because their events are in the topics for good.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from choreo.manifest import HandlerManifest, Manifest

Names = frozenset[str]
NOTHING: Names = frozenset()


@dataclass(slots=True, eq=False)
class Node:
    """One handler.

    Attributes:
        kind: forward, compensation, deadline or otherwise.
        waits_for: For a forward step: the types that each parameter takes.
        emits: What any version of it may emit.
        takes: What any version of it waits for.
        current: Whether the newest manifest of its service still names it.
        undoers: Compensations that undo what it emits.
        leads: Something that must be undone, or a reason to undo more, may still come of it.
    """

    service: str
    name: str
    kind: str = "forward"
    waits_for: tuple[Names, ...] = ()
    causes: Names = NOTHING
    original: Names = NOTHING
    optional: bool = False
    emits: Names = NOTHING
    takes: Names = NOTHING
    guards: str = ""
    fan_out: bool = False
    current: bool = False
    undoers: tuple["Node", ...] = ()
    leads: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Service and name."""
        return self.service, self.name


@dataclass(frozen=True, slots=True)
class SagaType:
    """One saga type and its owner."""

    name: str
    owner: str
    starts: Names
    completes: Names
    fails: Names


@dataclass(slots=True)
class Graph:
    """All services together, by event type.

    Args:
        manifests: In the order of their topic: the later of two of one service is the newer.
    """

    manifests: list[Manifest]
    nodes: dict[tuple[str, str], Node] = field(default_factory=dict)
    waiting: dict[str, list[Node]] = field(default_factory=dict)
    compensations: list[Node] = field(default_factory=list)
    sagas: dict[str, SagaType] = field(default_factory=dict)
    started_by: dict[str, SagaType] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    failures: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    topics: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)
    producers: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        newest = {manifest.service: manifest for manifest in self.manifests}
        for manifest in self.manifests:
            self._take(manifest, current=newest[manifest.service] is manifest)
        for node in self.nodes.values():
            self._place(node)
        self._guard()
        self._lead()

    def _take(self, manifest: Manifest, *, current: bool) -> None:
        self.services.add(manifest.service)
        for handler in manifest.handlers:
            node = _node(manifest.service, handler, current=current)
            known = self.nodes.get(node.key)
            if known is not None:
                node.emits |= known.emits
                node.takes |= known.takes
            self.nodes[node.key] = node
        for saga in manifest.sagas:
            kind = SagaType(
                saga.name, manifest.service, _names(saga.starts), _names(saga.completes), _names(saga.fails)
            )
            self.sagas[saga.name] = kind
            self.started_by |= dict.fromkeys(kind.starts, kind)
            for each in kind.starts:
                self.outside.setdefault(each, manifest.service)
        for name, by in manifest.publishes.items():
            self.outside[name] = by or manifest.service
        for name, event in manifest.events.items():
            self.types.add(name)
            self.topics.add(event.topic)
            if event.failure:
                self.failures.add(name)

    def _place(self, node: Node) -> None:
        for each in sorted(node.emits):
            names = self.producers.setdefault(each, [])
            if node.service not in names:
                names.append(node.service)
        if not node.current:
            return
        if node.kind == "compensation":
            self.compensations.append(node)
        elif node.kind == "forward":
            for each in sorted(frozenset().union(*node.waits_for)):
                self.waiting.setdefault(each, []).append(node)

    def _guard(self) -> None:
        causes = NOTHING.union(*(undoer.causes for undoer in self.compensations))
        for node in self.nodes.values():
            if node.kind == "forward":
                node.undoers = tuple(
                    undoer
                    for undoer in self.compensations
                    if undoer.service == node.service and undoer.original & node.emits
                )
                node.leads = bool(node.undoers) or not causes.isdisjoint(node.emits)

    def _lead(self) -> None:
        """Mark what compensable steps may still come of, backwards along the events."""
        grown = True
        while grown:
            grown = False
            for node in self.nodes.values():
                if node.kind == "forward" and not node.leads:
                    follow = (later for each in node.emits for later in self.waiting.get(each, ()))
                    node.leads = any(later.leads for later in follow)
                    grown = grown or node.leads

    def shape(self) -> object:
        """Return what any answer depends on: graphs of one shape judge alike."""
        nodes = {
            key: (
                (each.kind, each.waits_for, each.causes, each.original, each.optional),
                (each.emits, each.takes, each.guards, each.fan_out, each.current),
            )
            for key, each in self.nodes.items()
        }
        return nodes, self.sagas, self.outside, self.failures, self.types

    def forward_of(self, service: str, handler: str) -> Node | None:
        """Return the forward step that emits under this name; that of the step it stands for, for an `otherwise`."""
        node = self.nodes.get((service, handler))
        if node is not None and node.guards:
            node = self.nodes.get((service, node.guards))
        return node if node is not None and node.kind == "forward" else None

    def origin(self, name: str) -> str:
        """Return who an event of this type comes from, in words."""
        services = self.producers.get(name)
        return " or ".join(services) if services else self.outside.get(name, "nobody that is known")


def emitter(source: str) -> tuple[str, str]:
    """Return the service and handler that a `ce_source` names; ("", "") where it names none."""
    parts = source.split("/")
    return (parts[1], parts[2]) if len(parts) == 3 and not parts[0] else ("", "")  # noqa: PLR2004 - "/service/handler"


def _names(value: str | Iterable[str] | None) -> Names:
    if value is None:
        return NOTHING
    return frozenset({value}) if isinstance(value, str) else frozenset(value)


def _node(service: str, handler: HandlerManifest, *, current: bool) -> Node:
    waits_for = tuple(_names(types) for types in handler.waits_for)
    return Node(
        service=service,
        name=handler.name,
        kind=str(handler.kind),
        waits_for=waits_for,
        takes=NOTHING.union(*waits_for),
        causes=_names(handler.causes),
        original=_names(handler.original),
        optional=handler.original_optional,
        emits=_names(handler.emits),
        guards=handler.guards or "",
        fan_out=handler.fan_out,
        current=current,
    )
