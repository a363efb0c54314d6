"""Which steps an event may make ready, in one saga type.

These tables are made once, so that following a large saga looks at few steps; following it is done elsewhere
(`consequences`). Steps that lead to no end, no failure and no undoing are in none of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from choreo.checks.branch_paths import BranchPath, BranchPaths
from choreo.checks.saga_flow import SagaFlow
from choreo.checks.step_outcomes import StepOutcomes, cancelled
from choreo.choreography import NOTHING, Names, Node

_NO_STEPS: Mapping[str, Node] = {}


@dataclass(frozen=True, eq=False)
class Triggers:
    """Which steps of one saga type an event may make ready, and in which branches."""

    flow: SagaFlow
    places: BranchPaths
    outcomes: StepOutcomes

    def of(self, event: str) -> Mapping[str, Node]:
        """Return the steps that an event, or that a step was cancelled, may make ready."""
        return self._triggered.get(event, _NO_STEPS)

    def woken(self, come: Names) -> dict[str, Node]:
        """Return the steps that may be ready once these have come, without those that have run for certain."""
        run = self.outcomes.traces
        return {
            name: self.steps[name]
            for name, causes in self._causes.items()
            if not come.isdisjoint(causes) and come.isdisjoint(run[name])
        }

    def inside(self, place: BranchPath) -> Mapping[str, Node]:
        """Return the steps that may run in a branch, or further in."""
        return self._inside.get(place, _NO_STEPS)

    def around(self, place: BranchPath) -> Names:
        """Return the events that stand around a branch, steps that were cancelled there among them."""
        return NOTHING.union(*(self._standing.get(place[:depth], NOTHING) for depth in range(len(place))))

    @cached_property
    def steps(self) -> Mapping[str, Node]:
        """Return the steps that something follows from in the end: an end, a failure or an undoing."""
        flow, found = self.flow, set[str]()
        names = list(flow.completes | flow.fails | flow.failures | self.causes)
        met = set(names)
        while names:
            for step in flow.producers(names.pop()):
                if step.name not in found:
                    found.add(step.name)
                    taken = NOTHING.union(*step.parameters, step.takes) - met
                    names += taken
                    met |= taken
        return {step.name: step for step in flow.steps if step.name in found or step.kind == "compensation"}

    @cached_property
    def causes(self) -> Names:
        """Return the causes of all compensations."""
        return NOTHING.union(*(step.causes for step in self.flow.steps))

    @cached_property
    def cancelled(self) -> Mapping[str, Node]:
        """Return the steps that may be cancelled, by what stands for that among the events."""
        return {cancelled(step.name): step for step in self.flow.steps if self.outcomes.cancels[step.name]}

    @cached_property
    def fan_ins(self) -> Sequence[Node]:
        """Return the steps that gather branches."""
        return [step for step in self.steps.values() if step.handler.fan_in]

    @cached_property
    def opened(self) -> Mapping[str, Names]:
        """Return for each step the events that begin branches."""
        return {step.name: step.opens for step in self.flow.steps}

    @cached_property
    def undone(self) -> Mapping[str, Sequence[Node]]:
        """Return for each compensation the steps that it undoes."""
        found: dict[str, list[Node]] = {}
        for step in self.flow.steps:
            for each in self.flow.undoing(step):
                found.setdefault(each.name, []).append(step)
        return found

    @cached_property
    def _triggered(self) -> Mapping[str, Mapping[str, Node]]:
        found = {
            name: {each.name: each for each in self.flow.graph.takers(name) if each.name in self.steps}
            for name in self.flow.events
        }
        undoings = {
            name: {each.name: each for each in self.flow.undoing(step)} for name, step in self.cancelled.items()
        }
        return found | undoings

    @cached_property
    def _causes(self) -> Mapping[str, Names]:
        """Return the events that may make each step ready, by its name, in that order."""
        return {
            name: step.causes if step.kind == "compensation" else NOTHING.union(*step.parameters)
            for name, step in sorted(self.steps.items())
        }

    @cached_property
    def _inside(self) -> Mapping[BranchPath, Mapping[str, Node]]:
        found: dict[BranchPath, dict[str, Node]] = {}
        for name, step in self.steps.items():
            for place in self.places.running(step):
                for depth in range(1, len(place) + 1):
                    found.setdefault(place[:depth], {})[name] = step
        return found

    @cached_property
    def _standing(self) -> Mapping[BranchPath, set[str]]:
        found: dict[BranchPath, set[str]] = {}
        places = {name: self.places.of(name) for name in self.flow.events}
        places |= {name: self.places.running(step) for name, step in self.cancelled.items()}
        for name, stand in places.items():
            for place in stand:
                found.setdefault(place, set()).add(name)
        return found
