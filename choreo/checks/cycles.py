"""Which steps of one saga type lead back to themselves, and whether something ends each cycle.

A join is in no cycle: it runs once in a branch, however often what it waits for comes.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from choreo.checks.bitsets import BitSets
from choreo.checks.saga_flow import SagaFlow
from choreo.choreography import Node
from choreo.errors import Problem


@dataclass(frozen=True, eq=False)
class Cycles:
    """The cycles of one saga type."""

    flow: SagaFlow

    @cached_property
    def all(self) -> Collection[Sequence[Node]]:
        """Return the steps of each cycle, in the order they are reached."""
        marks = BitSets(step.name for step in self.flow.steps)
        leads = marks.closure({step.name: self._onward(step) for step in reversed(self.flow.steps)})
        cycles: dict[int, list[Node]] = {}
        for step in self.flow.steps:
            # The steps of one cycle lead to the same, themselves among it.
            if leads[step.name] & marks.of([step.name]):
                cycles.setdefault(leads[step.name], []).append(step)
        return cycles.values()

    def of(self, step: Node) -> frozenset[str]:
        """Return the steps of the cycle that a step is in; none if it is in no cycle."""
        return self._of.get(step.name, frozenset())

    @cached_property
    def _of(self) -> Mapping[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for cycle in self.all:
            names = frozenset(step.name for step in cycle)
            found |= dict.fromkeys(names, names)
        return found

    def _onward(self, step: Node) -> Collection[str]:
        """Return whom a step's events make run once more."""
        takers = [] if step.kind == "compensation" else map(self.flow.graph.takers, step.handler.emits)
        return {each.name for some in takers for each in some if len(each.parameters) == 1 and not each.handler.fan_in}


def check_cycles(cycles: Cycles) -> Iterator[Problem]:
    """Yield cycles that go on until `hops_max`: each round's events are new ones, so that each handler runs again."""
    for cycle in cycles.all:
        if not _bounded(cycles.flow, cycle):
            names = " → ".join(step.name for step in (*cycle, cycle[0]))
            message = f"{names} is a circle that nothing bounds: it may go round until hops_max parks it"
            fix = (
                "Have a join in it, which runs once; or let it take its time with Later, and a deadline end it in a "
                "failure; or say unless=… on one of them."
            )
            yield Problem("CH113", message, cycle[0].handler.place, fix)


def _bounded(flow: SagaFlow, cycle: Sequence[Node]) -> bool:
    """Return whether an event stops a cycle: one that unless names, or a failure that a deadline brings in time."""
    if any(step.handler.unless for step in cycle):
        return True
    own = {step.name for step in cycle}
    deadlines = [step for step in flow.steps if step.kind == "deadline" and step.name not in own]
    failing = any(not flow.failures.isdisjoint(step.handler.emits) for step in deadlines)
    return failing and any(_takes_time(step) for step in cycle)


def _takes_time(step: Node) -> bool:
    return step.kind == "deadline" or bool(step.delays)
