"""The choreography as the tracker asks it.

Manifests compiled into tables by event type live here; no record and no saga does. `follower` and `reading` build
one graph whenever manifests change, and `verdict` judges by it. The newest manifest of a service says what it does;
older ones still say what it was allowed to emit, because their events are in the topics for good.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from choreo.manifest import HandlerManifest, Manifest

Names = frozenset[str]
NOTHING: Names = frozenset()
_FORWARD = frozenset({"forward", "deadline"})


@dataclass(slots=True, eq=False)
class Node:
    """One handler.

    Attributes:
        kind: forward, compensation, deadline or otherwise.
        waits_for: For a forward step: the types that each parameter takes.
        gathers: Which of `waits_for` is one event from each branch; None where it gathers nothing.
        emits: What any version of it may emit.
        takes: What any version of it waits for.
        otherwise: What may come of it in place of that, once its retries are spent.
        awaits: For a deadline: what keeps it from firing.
        within_us: For a deadline: how long after its trigger, in microseconds; None where the trigger says how long.
        after_abort: For a deadline: it outlives a failure.
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
    gathers: int | None = None
    otherwise: Names = NOTHING
    awaits: Names = NOTHING
    within_us: int | None = None
    after_abort: bool = False
    current: bool = False
    undoers: tuple["Node", ...] = ()
    leads: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Service and name."""
        return self.service, self.name

    @property
    def joins(self) -> bool:
        """Whether it waits for more than one event."""
        return len(self.waits_for) > 1 or self.gathers is not None


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

    Attributes:
        nodes: Handlers by service and name.
        waiting: The forward steps that wait for a type.
        sees: What the newest version of a service reads or emits.
    """

    manifests: list[Manifest]
    nodes: dict[tuple[str, str], Node] = field(default_factory=dict)
    waiting: dict[str, list[Node]] = field(default_factory=dict)
    compensations: list[Node] = field(default_factory=list)
    deadlines: list[Node] = field(default_factory=list)
    sagas: dict[str, SagaType] = field(default_factory=dict)
    started_by: dict[str, SagaType] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    failures: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    topics: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)
    producers: dict[str, list[str]] = field(default_factory=dict)
    sees: dict[str, set[str]] = field(default_factory=dict)

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
        sees = self.sees.setdefault(manifest.service, set())
        for handler in manifest.handlers:
            if current:
                types = (handler.emits, handler.causes, handler.unless, handler.awaits)
                sees.update(*types, *handler.waits_for, *handler.extras)
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
        elif node.kind == "deadline":
            self.deadlines.append(node)
        elif node.kind == "forward":
            for each in sorted(frozenset().union(*node.waits_for)):
                self.waiting.setdefault(each, []).append(node)

    def _guard(self) -> None:
        causes = NOTHING.union(*(undoer.causes for undoer in self.compensations))
        for node in self.nodes.values():
            guarded = self.nodes.get((node.service, node.guards)) if node.guards else None
            if guarded is not None:
                guarded.otherwise |= node.emits
        for node in self.nodes.values():
            if node.kind in _FORWARD:
                node.undoers = tuple(
                    undoer
                    for undoer in self.compensations
                    if undoer.service == node.service and undoer.original & node.emits
                )
                node.leads = bool(node.undoers) or not causes.isdisjoint(node.emits | node.otherwise)

    def _lead(self) -> None:
        """Mark what compensable steps may still come of, backwards along the events."""
        grown = True
        while grown:
            grown = False
            for node in self.nodes.values():
                if node.kind in _FORWARD and not node.leads:
                    follow = (later for each in node.emits | node.otherwise for later in self.waiting.get(each, ()))
                    node.leads = any(later.leads for later in follow)
                    grown = grown or node.leads

    def shape(self) -> object:
        """Return what any answer depends on: graphs of one shape judge alike."""
        nodes = {
            key: (
                (each.kind, each.waits_for, each.causes, each.original, each.optional),
                (each.emits, each.takes, each.guards, each.fan_out, each.gathers, each.current),
                (each.awaits, each.within_us, each.after_abort),
            )
            for key, each in self.nodes.items()
        }
        return nodes, self.sagas, self.outside, self.failures, self.types, self.sees

    def step_of(self, service: str, handler: str) -> Node | None:
        """Return whose step a handler acts for: its own or, of an `otherwise`, that of the handler it stands for."""
        node = self.nodes.get((service, handler))
        if node is not None and node.guards:
            node = self.nodes.get((service, node.guards))
        return node

    def origin(self, name: str) -> str:
        """Return who an event of this type comes from, in words."""
        services = self.producers.get(name)
        return " or ".join(services) if services else self.outside.get(name, "nobody that is known")


def _names(value: str | Iterable[str] | None) -> Names:
    if value is None:
        return NOTHING
    return frozenset({value}) if isinstance(value, str) else frozenset(value)


def _node(service: str, handler: HandlerManifest, *, current: bool) -> Node:
    waits_for = tuple(_names(types) for types in handler.waits_for)
    gathers, within_s = handler.gathers, handler.within_s
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
        # A manifest may say anything, and a tracker does not fall over it.
        gathers=gathers if gathers is not None and 0 <= gathers < len(waits_for) else None,
        awaits=_names(handler.awaits),
        within_us=round(within_s * 1e6) if within_s is not None and math.isfinite(within_s) else None,
        after_abort=handler.after_abort,
        current=current,
    )
