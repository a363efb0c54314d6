"""Which steps and events of one saga type come once, and which events are never in one saga.

A step that runs once returns one thing or another. The checks ask from that whether a failure can meet what it would
undo or end, and whether a join can fill.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import product
from math import prod
from operator import or_

from choreo.checks.branch_paths import BranchPaths
from choreo.checks.saga_flow import SagaFlow
from choreo.choreography import NOTHING, Names, Node

TRIGGERS_MAX = 8
"""Events, any one of which makes a step ready, that are compared with each other."""


@dataclass(frozen=True, eq=False)
class Repetition:
    """What comes once in one saga type."""

    flow: SagaFlow
    places: BranchPaths
    in_branch: bool = False  # Once in a branch, rather than once in a saga.

    @property
    def once(self) -> Sequence[Node]:
        """Return the steps that run at most once: for the start, for what comes once itself, or as a join.

        What stands in for a step is not among them: it acts for that step.
        """
        return self._found[0]

    @property
    def alternatives(self) -> Mapping[str, int]:
        """Return for each event, as a mark, what its one step, which runs once, returns in its place."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[Sequence[Node], Mapping[str, int]]:
        events, alternatives = {self.flow.saga.starts}, dict[str, int]()
        once: list[Node] = []
        left = [step for step in self.flow.steps if step.kind not in {"compensation", "otherwise"}]
        found = True
        while found:
            found, behind = False, left
            left = []
            # In the order they are reached, so that a graph without cycles takes two rounds.
            for step in behind:
                if self._single(step, events, alternatives):
                    found = True
                    once.append(step)
                    events.update(name for name in step.emits | step.otherwise if self._comes_once(name, step))
                    alternatives |= self._alternatives(step)
                else:
                    left.append(step)
        return once, alternatives

    def alone(self, event: str, step: Node) -> bool:
        """Return whether nobody else brings an event than this step, or what stands in for it."""
        return event not in self.flow.outside and all(
            each in {step, step.stand_in} for each in self.flow.producers(event)
        )

    def _single(self, step: Node, once: set[str], alternatives: Mapping[str, int]) -> bool:
        triggers = [name for types in self.flow.groups(step) for name in types]
        if not self.in_branch and any(self.places.branched(name) for name in triggers):
            return False
        if len(step.parameters) > 1:
            # A join runs once a branch; without branches that is once.
            return True
        if not triggers or len(triggers) > TRIGGERS_MAX or not once.issuperset(triggers):
            return False
        through, names = self.flow.through, self.flow.marks.names
        kept = [reduce(or_, (alternatives.get(each, 0) for each in names(through[name])), 0) for name in triggers[:-1]]
        return all(kept[at] & through[other] for at, _ in enumerate(kept) for other in triggers[at + 1 :])

    def _comes_once(self, event: str, step: Node) -> bool:
        return self.alone(event, step) and (self.in_branch or event not in step.opens)

    def _alternatives(self, step: Node) -> dict[str, int]:
        outcomes = [{name for each in outcome for name in each.types} for outcome in step.outcomes]
        alone = {name for name in step.emits | step.otherwise if self.alone(name, step)}
        together = {name: set().union(*(names for names in outcomes if name in names)) for name in alone}
        return {name: self.flow.marks.of(alone - together[name] - {name}) for name in alone}


WAYS_MAX = 16
"""Choices that are told apart of how an event comes about."""


@dataclass(frozen=True, eq=False)
class Exclusion:
    """The events of one saga type that exclude each other."""

    flow: SagaFlow
    repetition: Repetition  # What of it comes once: in a saga, or in a branch. That is what the answers are about, too.
    _beside: dict[str, Names] = field(default_factory=dict, init=False, repr=False)
    _known: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _kept_by: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False)

    def of(self, one: str, other: str) -> bool:
        """Return whether two events never meet."""
        return not (self.admits(one, other) and self.admits(other, one))

    def admits(self, one: str, other: str) -> bool:
        """Return whether an event may come where one does, as far as that can be told from what leads to the one."""
        if self.plain(one, other):
            return False
        untouched = any(not kept & self.flow.perhaps[other] for kept in self._kept(one))
        return untouched or other in self.beside(one)

    def plain(self, one: str, other: str) -> bool:
        """Return whether a step that runs once returns what one certainly needs, or what the other does."""
        return bool(self._barred(one) & self.flow.through[other])

    def beside(self, event: str) -> Names:
        """Return what may come where this event does, on any of its ways; the rest needs what they keep away."""
        if event not in self._beside:
            kept = map(self.flow.marks.names, self._kept(event))
            self._beside[event] = NOTHING.union(*(self._reached(each) for each in kept))
        return self._beside[event]

    def reached(self, event: str, without: Names, apart: Names) -> Names:
        """Return what may come where one event does and others do not, or not in its branch."""
        return self._reached(self.barred(event) | without, apart)

    def barred(self, event: str) -> Names:
        """Return what an event's past keeps from coming."""
        return self.flow.marks.names(self._barred(event))

    def _barred(self, event: str) -> int:
        if event not in self._known:
            self._known[event] = self._kept_away(self.flow.through[event])
        return self._known[event]

    def _kept(self, event: str) -> list[int]:
        """Return what each way to an event keeps from coming."""
        if event not in self._kept_by:
            self._kept_by[event] = list(dict.fromkeys(self._kept_away(way) for way in self._ways(event)))
        return self._kept_by[event]

    def _kept_away(self, past: int) -> int:
        chosen, alternatives = self.flow.marks.names(past & self._chosen), self.repetition.alternatives
        return reduce(or_, (alternatives[each] for each in chosen), 0)

    def _ways(self, event: str) -> list[int]:
        """Return, as marks, what has come with an event for each choice among what the step that emits it takes."""
        flow, known = self.flow, self.flow.through[event]
        ways: list[int] = []
        for step in flow.producers(event) if event not in flow.outside else ():
            groups = flow.groups(step)
            if step.kind == "compensation" or prod(map(len, groups)) > WAYS_MAX:
                return [known]
            ways += [reduce(or_, (flow.through[each] for each in choice), known) for choice in product(*groups)]
        return ways if 1 <= len(ways) <= WAYS_MAX else [known]

    def _reached(self, without: Names, apart: Names = NOTHING) -> Names:
        steps = self.flow.reached(without, apart).values()
        return self.flow.outside.union({self.flow.saga.starts}, *(step.handler.emits for step in steps)) - without

    @cached_property
    def _chosen(self) -> int:
        """Return, as a mark, the events that come in the place of others."""
        return self.flow.marks.of(self.repetition.alternatives)
