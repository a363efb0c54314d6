"""Which steps lead back to themselves, in one saga type.

Finding them lives here; judging whether something bounds them does not (`circling`). A join is in no circle: it runs
once in a branch, however often what it waits for comes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from choreo.choreography import Step
from choreo.lints.components import components
from choreo.lints.flow import Flow


@dataclass(frozen=True, eq=False)
class Circles:
    """The circles of one saga type.

    Args:
        flow: The saga type.
    """

    flow: Flow

    @cached_property
    def all(self) -> tuple[tuple[Step, ...], ...]:
        """Return the steps of each circle, in the order they are reached."""
        onward = {step.name: tuple(self._onward(step)) for step in self.flow.steps}
        steps = {step.name: step for step in self.flow.steps}
        circles = [frozenset(names) for names in components(onward)]
        return tuple(
            tuple(step for name, step in steps.items() if name in names)
            for names in circles
            if len(names) > 1 or any(name in onward[name] for name in names)
        )

    def of(self, step: Step) -> frozenset[str]:
        """Return the steps of the circle that a step is in; none if it is in no circle."""
        return self._of.get(step.name, frozenset())

    @cached_property
    def _of(self) -> Mapping[str, frozenset[str]]:
        return {
            step.name: names
            for circle in self.all
            for names in [frozenset(each.name for each in circle)]
            for step in circle
        }

    def _onward(self, step: Step) -> Iterator[str]:
        """Yield whom a step's events make run once more."""
        if step.handler.kind == "compensation":
            return
        for name in step.handler.emits:
            for other in self.flow.graph.hearing(name):
                if len(self.flow.waits_for(other)) == 1 and not other.handler.fan_in:
                    yield other.name
