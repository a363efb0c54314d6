"""One service's part of the choreography as tables by event type, made once when the service starts.

The tables say which handlers an event concerns and what is kept of it; no decision is taken here. Who waits, who undoes
whom and what fails is read off the same graph as the tracker's (`choreography`); the functions are attached by name.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from choreo.choreography import NOTHING, Choreography, Names, Node, SagaType
from choreo.codec import Codec
from choreo.event import Event
from choreo.handler import Handler, Kind
from choreo.manifest import Manifest
from choreo.service import Declaration


def names(types: Iterable[type[Event]]) -> Names:
    """Return the Avro full names of these event types."""
    return frozenset(each.__choreo_type__ for each in types)


@dataclass(frozen=True, slots=True)
class Undo:
    """A compensation, with its types by name."""

    handler: Handler
    causes: Names
    originals: Names
    optional: bool
    guarded: frozenset[str]
    """Handlers whose steps it undoes, and so cancels."""


@dataclass(frozen=True, slots=True)
class Join:
    """A handler that waits for several events, or for one from each branch.

    Attributes:
        alone: Types that nobody but this join needs: their bodies go once it has run at the root.
        gathers: Which parameter takes one event from each branch; None for a join within one branch.
    """

    handler: Handler
    waits_for: tuple[Names, ...]
    alone: Names
    gathers: int | None = None


@dataclass(frozen=True, slots=True)
class Reaction:
    """All that one event type means to one service.

    Attributes:
        singles: Handlers that run once per event of this type.
        joins: Handlers that wait for it among others, or from each branch.
        deadlines: Handlers that run some time after it, where what they await has not come.
        undoes: Compensations that it causes.
        undone_by: Compensations that undo it, where it is this service's own.
        keep: The fact that it came is remembered.
        keep_body: So is its body, because a handler may ask for it later.
        failure: It aborts its saga.
        starts: The saga type of this service that it starts, or "".
        plain: Nothing but singles and nothing kept: the common case, kept short.
    """

    type: str
    singles: tuple[Handler, ...] = ()
    joins: tuple[Join, ...] = ()
    deadlines: tuple[Handler, ...] = ()
    undoes: tuple[Undo, ...] = ()
    undone_by: tuple[Undo, ...] = ()
    keep: bool = False
    keep_body: bool = False
    failure: bool = False
    starts: str = ""
    plain: bool = False


@dataclass(slots=True)
class Rules:
    """One service, compiled.

    Args:
        declaration: The service, resolved.
        codec: Turns bodies into events and back.
        at_least_once: Keep every output within memory, so that a trigger that comes again re-emits it (rule 10).
        hops_max: Longest chain of events from the start (rule 3).
        waiting_max: Recorded events a saga (rule 6).
        event_bytes_max: Largest body that may be emitted.
    """

    declaration: Declaration
    codec: Codec
    at_least_once: bool = False
    hops_max: int = 100
    waiting_max: int = 1000
    event_bytes_max: int = 1_000_000
    service: str = field(init=False)
    reactions: dict[str, Reaction] = field(init=False)
    handlers: dict[str, Handler] = field(init=False)
    guards: dict[str, tuple[Undo, ...]] = field(init=False)
    unless: dict[str, Names] = field(init=False)
    awaits: dict[str, Names] = field(init=False)
    undoers: dict[str, tuple[str, ...]] = field(init=False)
    otherwise: dict[str, Handler] = field(init=False)
    emits: dict[str, frozenset[type[Event]]] = field(init=False)
    owned: dict[str, SagaType] = field(init=False)
    failures: Names = field(init=False)
    terminals: Names = field(init=False)
    kept: Names = field(init=False)
    kept_bodies: Names = field(init=False)
    alone: dict[str, Names] = field(init=False)

    def __post_init__(self) -> None:
        """Compile."""
        own, graph = self.declaration, Choreography([Manifest.outline(self.declaration)])
        self.service = own.name
        self.handlers = {handler.name: handler for handler in own.handlers}
        forward = [node for node in graph.nodes if node.kind == "forward"]
        undos = [self._undo(node, forward) for node in graph.compensations]
        self.guards = {
            node.handler.name: tuple(undo for undo in undos if node.handler.name in undo.guarded) for node in forward
        }
        self.undoers = {
            kind: tuple(undo.handler.name for undo in undos if kind in undo.originals)
            for kind in NOTHING.union(*(undo.originals for undo in undos))
        }
        self.unless = {node.handler.name: frozenset(node.handler.unless) for node in graph.nodes}
        self.awaits = {node.handler.name: node.awaits for node in graph.deadlines}
        self.otherwise = {each.guards: each for each in own.handlers if each.kind is Kind.OTHERWISE}
        self.emits = {handler.name: frozenset(handler.emits) for handler in own.handlers}
        self.owned = {saga.name: graph.sagas[saga.name] for saga in own.sagas}
        self.terminals = NOTHING.union(*(saga.completes | saga.fails for saga in self.owned.values()))
        self.failures = frozenset(graph.failures)
        self._compile(graph, undos)

    def too_far(self, handler: str, hop: int) -> str:
        """Say that a step is too far from the start of its saga (rule 3)."""
        return (
            f"{self.service}.{handler}: hop {hop + 1} of this saga is beyond hops_max={self.hops_max}; "
            "break the cycle of events, or raise the setting"
        )

    def _undo(self, node: Node, forward: Iterable[Node]) -> Undo:
        guarded = frozenset(each.handler.name for each in forward if node in each.undoers)
        handler = self.handlers[node.handler.name]
        return Undo(handler, node.causes, node.original, handler.original_optional, guarded)

    def _compile(self, graph: Choreography, undos: list[Undo]) -> None:
        self.kept_bodies = NOTHING.union(*(node.keeps for node in graph.nodes))
        self.kept = self.kept_bodies.union(*self.unless.values(), *self.awaits.values())
        if any(each.later for each in self.declaration.handlers):
            # What calls a Later off is said when it is made, so that anything read may be asked for.
            self.kept |= names(self.declaration.consumes) | names(self.declaration.emits)
        self.alone = {
            node.handler.name: node.keeps.difference(*(other.keeps for other in graph.nodes if other is not node))
            for node in graph.nodes
            if node.kind == "forward" and node.joins
        }
        starts = {saga.starts: saga.name for saga in self.owned.values()}
        self.reactions = {
            each: Reaction(
                type=each,
                singles=tuple(self.handlers[node.handler.name] for node in graph.waiting(each) if not node.joins),
                joins=tuple(self._join(node) for node in graph.waiting(each) if node.joins),
                deadlines=tuple(
                    self.handlers[node.handler.name] for node in graph.deadlines if each in node.waits_for[0]
                ),
                undoes=tuple(undo for undo in undos if each in undo.causes),
                undone_by=tuple(undo for undo in undos if each in undo.originals),
                keep=each in self.kept,
                keep_body=each in self.kept_bodies,
                failure=each in self.failures,
                starts=starts.get(each, ""),
                plain=each not in self.kept and each not in self.failures,
            )
            for each in names(self.declaration.consumes)
        }

    def _join(self, node: Node) -> Join:
        name = node.handler.name
        return Join(self.handlers[name], node.waits_for, self.alone[name], node.gathers)
