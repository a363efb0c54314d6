"""Which events are never in one saga.

Steps that run once, and return either one thing or another, live here; `undoing` and `ending` ask it whether a failure
can meet what it would undo or end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from choreo.choreography import Step
from choreo.lints.flow import Events, Flow


@dataclass(frozen=True, eq=False)
class Exclusion:
    """The events of one saga type that exclude each other.

    Args:
        flow: The saga type.
        in_branch: What no branch has both of, rather than no saga.
    """

    flow: Flow
    in_branch: bool = False

    def of(self, one: str, other: str) -> bool:
        """Return whether two events never meet: a step that runs once returns what one needs or what the other does."""
        return not self._barred[one].isdisjoint(self.flow.past(other))

    @cached_property
    def _barred(self) -> Mapping[str, Events]:
        """Return for each event what its past keeps from coming."""
        alternatives = self._alternatives
        return {
            name: frozenset().union(*(alternatives[each] for each in self.flow.past(name) if each in alternatives))
            for name in self.flow.events
        }

    @cached_property
    def _alternatives(self) -> Mapping[str, Events]:
        """Return for each event what its one step, which runs once, returns in its place."""
        found: dict[str, Events] = {}
        for step in self._once:
            alone = {name for name in step.handler.emits if len(self.flow.producers(name)) == 1} - self.flow.outside
            outcomes = [{name for each in outcome for name in each.types} for outcome in step.handler.outcomes]
            for name in alone:
                together = set().union(*(names for names in outcomes if name in names))
                found[name] = frozenset(alone - together - {name})
        return found

    @cached_property
    def _once(self) -> tuple[Step, ...]:
        """Return the steps that run at most once: for the start, for what comes once itself, or as a join."""
        events = {self.flow.start}
        once: list[Step] = []
        left = list(self.flow.steps)
        found = True
        while found:
            found, behind = False, left
            left = []
            # In the order they are reached, so that a graph without circles takes two rounds.
            for step in behind:
                if self._single(step, events):
                    found = True
                    once.append(step)
                    events.update(name for name in step.handler.emits if self._comes_once(name))
                else:
                    left.append(step)
        return tuple(once)

    def _single(self, step: Step, once: set[str]) -> bool:
        if step.handler.kind == "compensation":
            return False
        waits_for = self.flow.waits_for(step)
        triggers = [name for types in waits_for for name in types if name in self.flow.events]
        if not self.in_branch and any(self.flow.branched(name) for name in triggers):
            return False
        # A join runs once a branch; without branches that is once.
        return len(waits_for) > 1 or (len(triggers) == 1 and triggers[0] in once)

    def _comes_once(self, event: str) -> bool:
        producers = self.flow.producers(event)
        if event in self.flow.outside or len(producers) != 1:
            return False
        opened = any(each.opens for outcome in producers[0].handler.outcomes for each in outcome if event in each.types)
        return self.in_branch or not opened
