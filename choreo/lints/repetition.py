"""Which steps of one saga type run once, and which events come once.

What follows from running once does not live here: `exclusion` tells what a step returns instead of something else, and
`consequences` what one that runs again may still return.
"""

from dataclasses import dataclass
from functools import cached_property

from choreo.choreography import Step
from choreo.lints.flow import Flow
from choreo.lints.graph import Events
from choreo.lints.places import Places


@dataclass(frozen=True, eq=False)
class Repetition:
    """What comes once in one saga type.

    Args:
        flow: The saga type.
        places: Where everything of it may stand.
        in_branch: Once in a branch, rather than once in a saga.
    """

    flow: Flow
    places: Places
    in_branch: bool = False

    @cached_property
    def once(self) -> tuple[Step, ...]:
        """Return the steps that run at most once: for the start, for what comes once itself, or as a join.

        What stands in for a step is not among them: it acts for that step.
        """
        events = {self.flow.start}
        once: list[Step] = []
        left = [step for step in self.flow.steps if step.handler.kind not in {"compensation", "otherwise"}]
        found = True
        while found:
            found, behind = False, left
            left = []
            # In the order they are reached, so that a graph without circles takes two rounds.
            for step in behind:
                if self._single(step, events):
                    found = True
                    once.append(step)
                    events.update(name for name in self.emits(step) if self._comes_once(name, step))
                else:
                    left.append(step)
        return tuple(once)

    def emits(self, step: Step) -> Events:
        """Return what a step, or what stands in for it, may emit."""
        otherwise = self.flow.graph.otherwise(step)
        return frozenset(step.handler.emits).union(otherwise.handler.emits if otherwise is not None else ())

    def alone(self, event: str, step: Step) -> bool:
        """Return whether nobody else brings an event than this step, or what stands in for it."""
        otherwise = self.flow.graph.otherwise(step)
        own = {step.name, otherwise.name if otherwise is not None else ""}
        return event not in self.flow.outside and all(each.name in own for each in self.flow.producers(event))

    def _single(self, step: Step, once: set[str]) -> bool:
        waits_for = self.flow.waits_for(step)
        triggers = [name for types in waits_for for name in types if name in self.flow.events]
        if not self.in_branch and any(self.places.branched(name) for name in triggers):
            return False
        # A join runs once a branch; without branches that is once.
        return len(waits_for) > 1 or (len(triggers) == 1 and triggers[0] in once)

    def _comes_once(self, event: str, step: Step) -> bool:
        emissions = (each for outcome in step.handler.outcomes for each in outcome)
        opened = any(each.opens for each in emissions if event in each.types)
        return self.alone(event, step) and (self.in_branch or not opened)
