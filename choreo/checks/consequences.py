"""What an event leads to, whichever way a saga goes.

The walk over all ways lives here, from what has come to where the saga rests. What a step may come to does not
(`step_outcomes`), nor what a saga that rests waits for (`blocked_steps`).
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from choreo.checks.branch_paths import ROOT, BranchPath, path_covers
from choreo.checks.cycles import Cycles
from choreo.checks.exclusion import Exclusion
from choreo.checks.saga_flow import SagaFlow
from choreo.checks.step_outcomes import cancelled
from choreo.checks.triggers import Triggers
from choreo.choreography import NOTHING, Names, Node

WAYS_MAX = 1_000
"""Ways that are followed for one question, beyond two for each step; of a saga that has more nothing is said."""
ENDS_MAX = 32
"""Ends that are looked at together; of a saga that has more, each question is asked by itself."""


class Within(NamedTuple):
    """What a way is looked at within."""

    place: BranchPath = ROOT  # The branch; fan-ins of what lies around it are left out.
    given: Sequence[str] = ()  # Events that the way begins with.
    gathered: Sequence[str] = ()  # Those of them for which every branch has brought something.
    seen: Names = NOTHING  # Failures of other branches: they count here, and are nothing that this branch has brought.
    undone: frozenset[str] = frozenset()  # Compensations that are known to run once what they undo has come.


@dataclass(slots=True)
class Way:
    """One way that a saga may go."""

    come: set[str]  # What has come, steps that were cancelled among it.
    woken: dict[str, Node]  # Steps that an event has come for since they were last looked at.
    aborted: bool  # A failure has come.
    # Steps that run and may come to different things, in the order they were ready.
    choices: dict[str, Node] = field(default_factory=dict)
    timed: dict[str, Node] = field(default_factory=dict)  # Deadlines that are set.
    chosen: set[str] = field(default_factory=set)  # Steps that have come to something.

    def copy(self) -> "Way":
        """Return this way, to go on otherwise."""
        return Way(
            set(self.come), dict(self.woken), self.aborted, dict(self.choices), dict(self.timed), set(self.chosen)
        )


@dataclass(frozen=True, eq=False)
class Consequences:
    """What follows in one saga type."""

    flow: SagaFlow
    triggers: Triggers
    in_saga: Exclusion
    in_branch: Exclusion
    cycles: Cycles

    def certain(self, event: str) -> Names:
        """Return what an event leads to in any case, without following what depends on other events."""
        come = self._begun([event])
        way = Way(set(come), dict(self.triggers.of(event)), not come.isdisjoint(self.flow.failures))
        self._close(way, Within())
        return frozenset(way.come)

    def reach(self, wanted: AbstractSet[str], *events: str, undone: frozenset[str] = frozenset()) -> bool:
        """Return whether one of these comes, sooner or later and whichever way the saga goes, once the others have.

        `undone` are compensations that are known to run once what they undo has come.
        """
        way, within = self._way(events), Within(given=events, undone=undone)
        way.woken.update({name: self.triggers.steps[name] for name in sorted(undone)})
        return next(self._rests(wanted, way, within), None) is None

    def ends(self, event: str) -> list[Names] | None:
        """Return what has come in the end once an event has, for each way that the saga may go; None for too many."""
        found = list(islice(self._rests(NOTHING, self._way([event]), Within(given=[event])), ENDS_MAX + 1))
        return found if len(found) <= ENDS_MAX else None

    def rests(self, wanted: AbstractSet[str], *events: str) -> Iterator[Names]:
        """Yield what has come where a saga rests without any of what is wanted; nothing beyond `WAYS_MAX`."""
        return self._rests(wanted, self._way(events), Within(given=events))

    def _begun(self, events: Iterable[str]) -> Names:
        """Return what has come once these have, from services that are not here, too."""
        come = self.flow.past(*events)
        # What undoing leads to comes from elsewhere where there is something to undo.
        undoings = self.triggers.causes if come.isdisjoint(self.flow.failures) else NOTHING
        return come | (self.flow.granted - self.flow.failures - undoings)

    def _way(self, events: Iterable[str]) -> Way:
        come = self._begun(events)
        return Way(set(come), self.triggers.woken(come), not come.isdisjoint(self.flow.failures))

    def _rests(self, wanted: AbstractSet[str], way: Way, within: Within) -> Iterator[Names]:
        ways, left = [way] if way.come.isdisjoint(wanted) else [], WAYS_MAX + 2 * len(self.flow.steps)
        while ways and left:
            left -= 1
            way = ways.pop()
            self._close(way, within)
            if not way.come.isdisjoint(wanted):
                continue
            outcomes = self._next(way, within)
            if outcomes is None and self._gather(way, wanted, within):
                ways.append(way)
                continue
            outcomes = self._expired(way, within) if outcomes is None else outcomes
            if outcomes is None:
                yield frozenset(way.come)
                continue
            going_on = [each for each in outcomes if each.isdisjoint(wanted)]
            for place, outcome in enumerate(going_on):
                other = way.copy() if place + 1 < len(going_on) else way
                self._come(other, outcome)
                ways.append(other)

    def _come(self, way: Way, events: Names) -> None:
        """Add events, and the steps that they may make ready."""
        fresh = events - way.come
        way.come |= fresh
        way.aborted = way.aborted or not fresh.isdisjoint(self.flow.failures)
        for name in sorted(fresh):
            way.woken.update(self.triggers.of(name))

    def _close(self, way: Way, within: Within) -> None:
        """Have everything run that is ready and comes to the same in any case."""
        while way.woken:
            woken, way.woken = way.woken, {}
            found: set[str] = set()
            for name, step in woken.items():
                here = not within.place or name in self.triggers.inside(within.place)
                if here and name not in way.chosen and self._ready(step, way, within):
                    found |= self._taken_up(step, way, within)
            self._come(way, frozenset(found))

    def _taken_up(self, step: Node, way: Way, within: Within) -> Names:
        """Return what a step that is ready comes to in any case; what it may come to besides is to be chosen."""
        if step.kind == "deadline":
            way.timed[step.name] = step
            return NOTHING
        outcomes = self.triggers.outcomes.of(step, way.come, within.seen, aborted=way.aborted or bool(within.seen))
        if len(outcomes) > 1:
            way.choices[step.name] = step
        return frozenset.intersection(*outcomes)

    def _ready(self, step: Node, way: Way, within: Within) -> bool:
        handler, come = step.handler, way.come
        if handler.kind == "compensation":
            caused = not come.isdisjoint(handler.causes) or not within.seen.isdisjoint(handler.causes)
            if come.isdisjoint(handler.original):
                return caused and handler.original_optional and self._unknown(step, come)
            return caused or step.name in within.undone
        if handler.fan_in or handler.kind == "otherwise":
            return False
        if handler.kind == "deadline" and not handler.after_abort and self._over(step, way, within):
            return False
        return all(not come.isdisjoint(types) for types in handler.waits_for)

    def _over(self, step: Node, way: Way, within: Within) -> bool:
        """Return whether a deadline is set no more, or called off, because its service knows of a failure."""
        return (way.aborted or bool(within.seen)) and self.triggers.outcomes.knows_of_failure(
            step, way.come, within.seen
        )

    def _unknown(self, compensation: Node, come: AbstractSet[str]) -> bool:
        """Return whether it is unknown what was done that this undoes: the step was cancelled, or its retries spent."""
        for step in self.triggers.undone.get(compensation.name, ()):
            if cancelled(step.name) in come or not come.isdisjoint(step.otherwise & compensation.causes):
                return True
        return False

    def _next(self, way: Way, within: Within) -> Sequence[Names] | None:
        """Return what the next step that has a choice may come to; None where no step has one."""
        while way.choices:
            name = next(iter(way.choices))
            step = way.choices.pop(name)
            way.chosen.add(name)
            if not self.triggers.outcomes.taken(step, way.come):
                found = self.triggers.outcomes.of(step, way.come, within.seen, aborted=way.aborted or bool(within.seen))
                return [each for each in self._possible(found, within) if not self._returns(step, each, way.chosen)]
        return None

    def _possible(self, outcomes: Sequence[Names], within: Within) -> Sequence[Names]:
        """Return what may come beside what a way began with."""
        return [
            outcome
            for outcome in outcomes
            if all(
                name in self.triggers.cancelled
                or (
                    all(self.in_saga.admits(each, name) for each in within.given)
                    and all(self.in_branch.admits(each, name) for each in within.gathered)
                )
                for name in outcome
            )
        ]

    def _returns(self, step: Node, outcome: Names, chosen: AbstractSet[str]) -> bool:
        """Return whether an outcome only has steps run again that have chosen: some time they choose otherwise."""
        cycle, back = self.cycles.of(step), False
        names, met = list(outcome) if cycle else [], set[str]()
        while names:
            for other in self.triggers.of(names.pop()).values():
                if other.name not in cycle or other.name in met:
                    continue
                met.add(other.name)
                if other.name in chosen:
                    back = True
                elif len(self.triggers.outcomes.of(other, NOTHING, NOTHING, aborted=False)) > 1:
                    return False
                else:
                    names += other.handler.emits
        return back

    def _expired(self, way: Way, within: Within) -> Sequence[Names] | None:
        """Return what the next deadline may come to: it fires, or one of what it awaits is in time."""
        while way.timed:
            name = next(iter(way.timed))
            step = way.timed.pop(name)
            way.chosen.add(name)
            lasts = step.handler.after_abort or not self._over(step, way, within)
            if lasts and way.come.isdisjoint(step.handler.awaits):
                in_time = [self.flow.past(each) for each in step.handler.awaits if each in self.flow.events]
                return self._possible(
                    [*self.triggers.outcomes.of(step, NOTHING, NOTHING, aborted=False), *in_time], within
                )
        return None

    def _gather(self, way: Way, wanted: AbstractSet[str], within: Within) -> bool:
        """Have a fan-in run that every branch brings something; return whether there is one."""
        for step in self.triggers.fan_ins:
            run = step.name in way.chosen or not way.come.isdisjoint(self.triggers.outcomes.traces[step.name])
            if run or step.name in way.choices or not self.complete(step, way.come):
                continue
            if self._gathered(step, way.come, wanted, within):
                self._come(way, self._taken_up(step, way, within))
                if step.name not in way.choices:
                    way.chosen.add(step.name)
                return True
        return False

    def complete(self, step: Node, come: AbstractSet[str]) -> bool:
        """Return whether everything has come that a step waits for, but for what it gathers."""
        waits_for = enumerate(step.parameters)
        return all(place == step.handler.gathers or not come.isdisjoint(types) for place, types in waits_for)

    def _gathered(self, step: Node, come: AbstractSet[str], wanted: AbstractSet[str], within: Within) -> bool:
        assert step.handler.gathers is not None, "it is a fan-in"
        types = frozenset(step.handler.waits_for[step.handler.gathers])
        opened = [
            (place, name)
            for place in self.triggers.places.gathering(step)
            if path_covers(within.place, place[:-1])
            for name in self.triggers.opened[place[-1]] & come
        ]
        if not opened:
            # Whoever opens these branches may be elsewhere, as whoever fills them.
            return bool(self.flow.granted)
        return all(self._brings(types | wanted, come, place, name, within) for place, name in opened)

    def _brings(self, types: Names, come: AbstractSet[str], place: BranchPath, opener: str, within: Within) -> bool:
        """Return whether a branch, whichever way it goes, brings one of these."""
        outer = self.triggers.around(place) & come
        seen = (self.flow.failures & come) - outer | within.seen
        within = within._replace(place=place, seen=frozenset(seen), gathered=list(self._all(place, within)))
        come = outer | {opener}
        way = Way(set(come), dict(self.triggers.inside(place)), not come.isdisjoint(self.flow.failures))
        return next(self._rests(types, way, within), None) is None

    def _all(self, place: BranchPath, within: Within) -> Iterator[str]:
        """Yield what has come for which every branch has brought something."""
        for name in within.given:
            gathered = all(len(each) < len(place) for each in self.triggers.places.of(name))
            # What was undone for one branch's failure tells nothing of the others.
            if gathered and not self.flow.follows(name, self.flow.failures):
                yield name
