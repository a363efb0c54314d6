"""Which events are never in one saga.

Steps that run once, and return either one thing or another, live here; other lints ask it whether a failure can meet
what it would undo or end, and whether a join can fill.
"""

from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import product
from math import prod
from operator import or_

from choreo.lints.flow import Flow
from choreo.lints.graph import NONE, Events
from choreo.lints.repetition import Repetition

WAYS_MAX = 16
"""Choices that are told apart of how an event comes about."""


@dataclass(frozen=True, eq=False)
class Exclusion:
    """The events of one saga type that exclude each other.

    Args:
        flow: The saga type.
        repetition: What of it comes once: in a saga, or in a branch. That is what the answers are about, too.
    """

    flow: Flow
    repetition: Repetition
    _beside: dict[str, Events] = field(default_factory=dict, init=False, repr=False)
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

    def beside(self, event: str) -> Events:
        """Return what may come where this event does, on any of its ways; the rest needs what they keep away."""
        if event not in self._beside:
            kept = map(self.flow.marks.names, self._kept(event))
            self._beside[event] = NONE.union(*(self._reached(each) for each in kept))
        return self._beside[event]

    def reached(self, event: str, without: Events, apart: Events) -> Events:
        """Return what may come where one event does and others do not, or not in its branch."""
        return self._reached(self.barred(event) | without, apart)

    def barred(self, event: str) -> Events:
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
            groups = [[name for name in types if name in flow.events] for types in flow.waits_for(step)]
            if step.handler.kind == "compensation" or prod(map(len, groups)) > WAYS_MAX:
                return [known]
            ways += [reduce(or_, (flow.through[each] for each in choice), known) for choice in product(*groups)]
        return ways if 1 <= len(ways) <= WAYS_MAX else [known]

    def _reached(self, without: Events, apart: Events = NONE) -> Events:
        steps = self.flow.reached(without, apart).values()
        return self.flow.outside.union({self.flow.start}, *(step.handler.emits for step in steps)) - without

    @cached_property
    def _chosen(self) -> int:
        """Return, as a mark, the events that come in the place of others."""
        return self.flow.marks.of(self.repetition.alternatives)
