"""In which branches events stand, and steps run, in one saga type.

A place is the list-returning steps whose branches lie around something, the outermost first: () is the root. What may
follow at all lives elsewhere (`saga_flow`).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from choreo.checks.saga_flow import SagaFlow
from choreo.choreography import Node

BranchPath = tuple[str, ...]
ROOT: BranchPath = ()


def path_covers(outer: BranchPath, inner: BranchPath) -> bool:
    """Return whether what stands in one place counts in another: there itself, or further in."""
    return inner[: len(outer)] == outer


@dataclass(frozen=True, eq=False)
class BranchPaths:
    """Where everything of one saga type may stand."""

    flow: SagaFlow

    def of(self, event: str) -> Collection[BranchPath]:
        """Return where an event may stand."""
        return self._events.get(event, ())

    def branched(self, event: str) -> bool:
        """Return whether an event may stand in a branch."""
        return any(self.of(event))

    def running(self, step: Node) -> frozenset[BranchPath]:
        """Return where a step may run; nowhere if what it waits for never meets."""
        return frozenset(self._running(step, self._events))

    def gathering(self, step: Node) -> frozenset[BranchPath]:
        """Return the branches that a fan-in gathers; () for any other step."""
        gathers = step.handler.gathers
        types = step.parameters[gathers] if gathers is not None else ()
        return frozenset(place for name in types for place in self.of(name) if place)

    @cached_property
    def _events(self) -> Mapping[str, set[BranchPath]]:
        found: dict[str, set[BranchPath]] = {name: set() for name in self.flow.events}
        for name in (self.flow.saga.starts, *self.flow.outside):
            found[name].add(ROOT)
        changed = True
        while changed:
            changed = False
            for step in self.flow.steps:
                for name, place in self._emitted(step, found):
                    if name in found and place not in found[name]:
                        found[name].add(place)
                        changed = True
        return found

    def _emitted(self, step: Node, found: Mapping[str, set[BranchPath]]) -> Iterator[tuple[str, BranchPath]]:
        places = list(self._running(step, found))
        for emission in step.emissions:
            for place in places:
                # Branches within branches of one list count as one: otherwise a cycle would nest without end.
                inner = (*place, step.name) if emission.opens and step.name not in place else place
                for name in emission.types:
                    yield name, inner

    def _running(self, step: Node, found: Mapping[str, set[BranchPath]]) -> set[BranchPath]:
        """Return where a step may run: a join in the innermost of its events' branches, a fan-in one further out."""
        if step.kind == "compensation":
            return {place for name in step.handler.original for place in found.get(name, ())}
        met: set[BranchPath] = {ROOT} if step.parameters else set()
        for at, types in enumerate(step.parameters):
            here = {place for name in types for place in found.get(name, ())}
            if at == step.handler.gathers:
                here = {place[:-1] for place in here if place}
            met = {
                max(one, other, key=len) for one in met for other in here if path_covers(*sorted((one, other), key=len))
            }
        return met
