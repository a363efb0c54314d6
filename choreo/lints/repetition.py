"""Which steps of one saga type run once, and which events come once.

What such a step returns in the place of something else lives here, too; what follows from that does not (`exclusion`,
`outcomes`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_

from choreo.choreography import Step
from choreo.lints.flow import Flow
from choreo.lints.graph import Events
from choreo.lints.places import Places

TRIGGERS_MAX = 8
"""Events, any one of which makes a step ready, that are compared with each other."""


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

    @property
    def once(self) -> Sequence[Step]:
        """Return the steps that run at most once: for the start, for what comes once itself, or as a join.

        What stands in for a step is not among them: it acts for that step.
        """
        return self._found[0]

    @property
    def alternatives(self) -> Mapping[str, int]:
        """Return for each event, as a mark, what its one step, which runs once, returns in its place."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[Sequence[Step], Mapping[str, int]]:
        events, alternatives = {self.flow.start}, dict[str, int]()
        once: list[Step] = []
        left = [step for step in self.flow.steps if step.handler.kind not in {"compensation", "otherwise"}]
        found = True
        while found:
            found, behind = False, left
            left = []
            # In the order they are reached, so that a graph without circles takes two rounds.
            for step in behind:
                if self._single(step, events, alternatives):
                    found = True
                    once.append(step)
                    events.update(name for name in self.emits(step) if self._comes_once(name, step))
                    alternatives |= self._alternatives(step)
                else:
                    left.append(step)
        return once, alternatives

    def emits(self, step: Step) -> Events:
        """Return what a step, or what stands in for it, may emit."""
        otherwise = self.flow.graph.otherwise(step)
        return frozenset(step.handler.emits).union(otherwise.handler.emits if otherwise is not None else ())

    def alone(self, event: str, step: Step) -> bool:
        """Return whether nobody else brings an event than this step, or what stands in for it."""
        otherwise = self.flow.graph.otherwise(step)
        own = {step.name, otherwise.name if otherwise is not None else ""}
        return event not in self.flow.outside and all(each.name in own for each in self.flow.producers(event))

    def _single(self, step: Step, once: set[str], alternatives: Mapping[str, int]) -> bool:
        waits_for = self.flow.waits_for(step)
        triggers = [name for types in waits_for for name in types if name in self.flow.events]
        if not self.in_branch and any(self.places.branched(name) for name in triggers):
            return False
        if len(waits_for) > 1:
            # A join runs once a branch; without branches that is once.
            return True
        if not triggers or len(triggers) > TRIGGERS_MAX or not once.issuperset(triggers):
            return False
        through, names = self.flow.through, self.flow.marks.names
        kept = [reduce(or_, (alternatives.get(each, 0) for each in names(through[name])), 0) for name in triggers[:-1]]
        return all(kept[at] & through[other] for at, _ in enumerate(kept) for other in triggers[at + 1 :])

    def _comes_once(self, event: str, step: Step) -> bool:
        emissions = (each for outcome in step.handler.outcomes for each in outcome)
        opened = any(each.opens for each in emissions if event in each.types)
        return self.alone(event, step) and (self.in_branch or not opened)

    def _alternatives(self, step: Step) -> dict[str, int]:
        otherwise = self.flow.graph.otherwise(step)
        ends = [*step.handler.outcomes, *(otherwise.handler.outcomes if otherwise is not None else ())]
        outcomes = [{name for each in outcome for name in each.types} for outcome in ends]
        alone = {name for name in self.emits(step) if self.alone(name, step)}
        together = {name: set().union(*(names for names in outcomes if name in names)) for name in alone}
        return {name: self.flow.marks.of(alone - together[name] - {name}) for name in alone}
