"""One handler, and one saga type, compiled from what their service announces.

What a handler waits for, emits and undoes is answered here; which handlers there are beside it is not
(`service_graph`).
"""

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from choreo.manifest import EmissionManifest, HandlerManifest, SagaManifest

Names = frozenset[str]
NOTHING: Names = frozenset()


@dataclass(slots=True, eq=False)
class Node:
    """One handler of one service, compiled."""

    service: str
    handler: HandlerManifest  # What the newest manifest that names it says about it.
    current: bool = True  # Whether the newest manifest of its service still names it.
    emits: Names = NOTHING  # What any version of it may emit: its events are in the topics for good.
    waited_for: Names = NOTHING  # What any version of it waits for.
    waits_for: tuple[Names, ...] = field(init=False)  # The types that each parameter takes.
    causes: Names = field(init=False)  # Of a compensation: what sets it going.
    original: Names = field(init=False)  # Of a compensation: what it undoes.
    awaits: Names = field(init=False)  # Of a deadline: what keeps it from firing.
    # Which of `waits_for` is one event from each branch; None where it gathers nothing.
    gathers: int | None = field(init=False)
    otherwise: Names = NOTHING  # What may come of it in place of `emits`, once its retries are spent.
    guarded: "Node | None" = None  # Of an otherwise: the handler that it stands in for.
    stand_in: "Node | None" = None  # What runs in its place, once its retries are spent.
    undoers: tuple["Node", ...] = ()  # The compensations of its service that undo what it emits.
    leads: bool = False  # Something that must be undone, or a reason to undo more, may still come of it.

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
    def needs(self) -> Sequence[Sequence[str]]:
        """Return the types of which one of each group must have come before it runs."""
        own = self.handler
        if self.kind == "compensation":
            return [own.causes] if own.original_optional else [own.causes, own.original]
        return self.parameters

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
        """Return every event type that may make it ready, or have it undone."""
        return self.causes.union(self.original, *self.waits_for, *self.parameters)

    @property
    def wants(self) -> Names:
        """Return every event type that it may be given, but for what it undoes."""
        return self.causes.union(*self.parameters, *self.handler.extras)

    @property
    def reads(self) -> Names:
        """Return every event type that its service reads on its behalf."""
        return self.causes.union(self.handler.unless, self.awaits, *self.waits_for, *self.handler.extras)

    def ready(self, come: AbstractSet[str], apart: Names = NOTHING) -> bool:
        """Return whether it may run once these have come; what is `apart` of them brings a fan-in nothing."""
        if apart and self.gathers is not None and come.isdisjoint(self.waits_for[self.gathers] - apart):
            return False
        needs = self.needs
        return bool(needs) and not any(come.isdisjoint(types) for types in needs)


@dataclass(frozen=True, slots=True)
class SagaType:
    """A saga type and the service that owns it."""

    owner: str
    manifest: SagaManifest  # What the owner announced about it.
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
