"""A declaration compiled into tables, so that nothing is worked out per event that can be worked out once.

The tables say for each event type which handlers it concerns and what must be kept of it; no decision is taken here.
`plan` and `settle` read them; the runtime builds them when a service starts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from choreo.codec import Codec
from choreo.event import Event, Failure
from choreo.handler import Handler, Kind
from choreo.service import Declaration

Names = frozenset[str]


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


@dataclass(frozen=True, slots=True)
class Owned:
    """A saga type that this service owns, with its types by name."""

    completes: Names
    fails: Names


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
    owned: dict[str, Owned] = field(init=False)
    failures: Names = field(init=False)
    terminals: Names = field(init=False)
    kept: Names = field(init=False)
    kept_bodies: Names = field(init=False)
    alone: dict[str, Names] = field(init=False)

    def __post_init__(self) -> None:
        """Compile."""
        own = self.declaration
        self.service = own.name
        self.handlers = {handler.name: handler for handler in own.handlers}
        forward = [handler for handler in own.handlers if handler.kind is Kind.FORWARD]
        undos = [self._undo(handler, forward) for handler in own.handlers if handler.kind is Kind.COMPENSATION]
        self.guards = {
            handler.name: tuple(undo for undo in undos if handler.name in undo.guarded) for handler in forward
        }
        self.undoers = {
            kind: tuple(undo.handler.name for undo in undos if kind in undo.originals)
            for kind in frozenset().union(*(undo.originals for undo in undos))
        }
        self.unless = {handler.name: names(handler.unless) for handler in own.handlers}
        self.awaits = {each.name: names(each.awaits) for each in own.handlers if each.kind is Kind.DEADLINE}
        self.otherwise = {each.guards: each for each in own.handlers if each.kind is Kind.OTHERWISE}
        self.emits = {handler.name: frozenset(handler.emits) for handler in own.handlers}
        self.owned = {saga.name: Owned(names(saga.completes), names(saga.fails)) for saga in own.sagas}
        self.terminals = frozenset().union(*(each.completes | each.fails for each in self.owned.values()))
        known = {*own.consumes, *own.emits}
        self.failures = names(each for each in known if issubclass(each, Failure))
        self._compile(forward, undos)

    def too_far(self, handler: str, hop: int) -> str:
        """Say that a step is too far from the start of its saga (rule 3)."""
        return (
            f"{self.service}.{handler}: hop {hop + 1} of this saga is beyond hops_max={self.hops_max}; "
            "break the cycle of events, or raise the setting"
        )

    def _undo(self, handler: Handler, forward: list[Handler]) -> Undo:
        originals = names(handler.original)
        guarded = frozenset(each.name for each in forward if originals & names(each.emits))
        return Undo(handler, names(handler.causes), originals, handler.original_optional, guarded)

    def _compile(self, forward: list[Handler], undos: list[Undo]) -> None:
        extras: Names = frozenset().union(*(names(types) for undo in undos for types in undo.handler.extras))
        undo_bodies = extras.union(*(undo.causes | undo.originals for undo in undos))
        joining: dict[str, tuple[Names, ...]] = {
            handler.name: tuple(names(types) for types in handler.waits_for)
            for handler in forward
            if len(handler.waits_for) > 1 or handler.fan_in
        }
        awaited: dict[str, Names] = {name: frozenset().union(*waits) for name, waits in joining.items()}
        self.kept_bodies = undo_bodies.union(*awaited.values())
        self.kept = self.kept_bodies.union(*self.unless.values(), *self.awaits.values())
        if any(each.later for each in self.declaration.handlers):
            # What calls a Later off is said when it is made, so that anything read may be asked for.
            self.kept |= names(self.declaration.consumes) | names(self.declaration.emits)
        self.alone = {
            name: types - undo_bodies.union(*(other for key, other in awaited.items() if key != name))
            for name, types in awaited.items()
        }
        joins = [
            Join(each, joining[each.name], self.alone[each.name], each.gathers)
            for each in forward
            if each.name in joining
        ]
        singles = [(each, names(each.waits_for[0])) for each in forward if each.name not in joining]
        deadlines = [
            (each, names(each.waits_for[0])) for each in self.declaration.handlers if each.kind is Kind.DEADLINE
        ]
        starts = {saga.starts.__choreo_type__: saga.name for saga in self.declaration.sagas}
        consumed = names(self.declaration.consumes) | starts.keys()
        self.reactions = {}
        for each in consumed:
            reaction = Reaction(
                type=each,
                singles=tuple(handler for handler, types in singles if each in types),
                joins=tuple(join for join in joins if any(each in types for types in join.waits_for)),
                deadlines=tuple(handler for handler, types in deadlines if each in types),
                undoes=tuple(undo for undo in undos if each in undo.causes),
                undone_by=tuple(undo for undo in undos if each in undo.originals),
                keep=each in self.kept,
                keep_body=each in self.kept_bodies,
                failure=each in self.failures,
                starts=starts.get(each, ""),
                plain=each not in self.kept and each not in self.failures,
            )
            self.reactions[each] = reaction
