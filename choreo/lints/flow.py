"""What may follow what, in one saga type.

Which steps a saga of this type can take, what must have come before an event, and which events exclude each other live
here, told by manifests alone; what an event leads to does not (`consequences`), nor judging it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from choreo.choreography import Choreography, Step

DEPTH_MAX = 8
"""Branches within branches that are told apart."""
Events = frozenset[str]
_NONE: Events = frozenset()


@dataclass(frozen=True, eq=False)
class Flow:
    """One saga type's way through all services.

    Args:
        choreography: All services together.
        saga_type: The saga type; it is one of the choreography's.
    """

    choreography: Choreography
    saga_type: str

    @property
    def start(self) -> str:
        """Return the event that starts it."""
        return self.choreography.sagas[self.saga_type].saga.starts

    @property
    def owner(self) -> str:
        """Return the service that owns it."""
        return self.choreography.sagas[self.saga_type].owner

    @property
    def place(self) -> str:
        """Return where its owner is."""
        return next((each.handler.place for each in self.choreography.handlers(self.owner)), "")

    @property
    def completes(self) -> Events:
        """Return the events that complete it."""
        return frozenset(self.choreography.sagas[self.saga_type].saga.completes)

    @property
    def fails(self) -> Events:
        """Return the events that end it as failed."""
        return frozenset(self.choreography.sagas[self.saga_type].saga.fails)

    @cached_property
    def outside(self) -> Events:
        """Return what is published from outside into running sagas, and acted on in this one or by nobody."""
        return frozenset(name for name in self.choreography.events if self.choreography.publishers(name))

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Return every step that a saga of this type may take, the nearest to its start first."""
        return self._reached(_NONE)

    @cached_property
    def events(self) -> Events:
        """Return every event that it may have."""
        return frozenset({self.start, *self.outside}).union(*(step.handler.emits for step in self.steps))

    def _reached(self, without: Events) -> tuple[Step, ...]:
        """Return the steps that may be taken where some events never come."""
        events = {self.start, *self.outside} - without
        steps: dict[str, Step] = {}
        while fresh := [
            each for each in self.choreography.steps if each.name not in steps and self._may_run(each, events)
        ]:
            for step in fresh:
                steps[step.name] = step
                events.update(frozenset(step.handler.emits) - without)
        return tuple(steps.values())

    @cached_property
    def failures(self) -> Events:
        """Return the failures among its events, without the one that ends it."""
        known = self.choreography.events
        return frozenset(name for name in self.events if known[name].failure) - self.fails

    @cached_property
    def first_failures(self) -> Events:
        """Return the failures that may come before any other; the rest only follow one of these."""
        return frozenset(
            each
            for each in self.failures
            if each in self.outside or any(each in step.handler.emits for step in self._reached(self.failures - {each}))
        )

    @cached_property
    def before(self) -> Mapping[str, Events]:
        """Return for each event what has come before it, whichever way the saga has gone."""
        found: dict[str, Events] = dict.fromkeys(self.events, self.events)
        found |= {name: frozenset({self.start}) for name in self.outside}
        found[self.start] = _NONE
        while True:
            following = dict(found)
            for name in self.events - self.outside - {self.start}:
                ways = [self._needed(step, found) for step in self.producers(name)]
                following[name] = frozenset.intersection(*ways) if ways else _NONE
            if following == found:
                return found
            found = following

    def producers(self, event: str) -> Iterator[Step]:
        """Return the steps that may emit an event."""
        return (step for step in self.steps if event in step.handler.emits)

    def past(self, *events: str) -> Events:
        """Return what has come for certain once these have come, themselves included."""
        return frozenset(events).union(*(self.before[each] for each in events))

    def needs(self, step: Step) -> Events:
        """Return what has come for certain once a step is ready."""
        return self._needed(step, self.before)

    def exclude(self, one: str, other: str, *, in_branch: bool = False) -> bool:
        """Return whether no saga has both: a step that runs once returns either what one needs or what the other does.

        Args:
            one: An event.
            other: Another.
            in_branch: Whether no branch has both.
        """
        pairs = product(self.past(one), self.past(other))
        return any(self._alternatives(*pair, in_branch=in_branch) for pair in pairs)

    def _alternatives(self, one: str, other: str, *, in_branch: bool) -> bool:
        if one == other:
            return False
        ways = list(self.producers(one))
        if (
            len(ways) != 1
            or ways != list(self.producers(other))
            or not self._once(ways[0], frozenset(), in_branch=in_branch)
        ):
            return False
        outcomes = [{name for each in outcome for name in each.types} for outcome in ways[0].handler.outcomes]
        return not any(one in names and other in names for names in outcomes)

    def _once(self, step: Step, seen: frozenset[str], *, in_branch: bool) -> bool:
        """Return whether a step runs at most once a saga, or a branch."""
        handler = step.handler
        if step.name in seen or handler.kind == "compensation":
            return False
        if handler.kind == "otherwise":
            return all(self._once(each, seen | {step.name}, in_branch=in_branch) for each in self.guarded(step))
        if not in_branch and any(self.branched(name) for types in handler.waits_for for name in types):
            return False
        if len(handler.waits_for) > 1:
            # A join runs once a branch; without branches that is once.
            return True
        triggers = [name for types in handler.waits_for for name in types if name in self.events]
        return len(triggers) == 1 and self._comes_once(triggers[0], seen | {step.name}, in_branch=in_branch)

    def _comes_once(self, event: str, seen: frozenset[str], *, in_branch: bool) -> bool:
        if event == self.start:
            return True
        ways = list(self.producers(event))
        if event in self.outside or len(ways) != 1:
            return False
        opens = any(each.opens and event in each.types for outcome in ways[0].handler.outcomes for each in outcome)
        return (in_branch and opens) or self._once(ways[0], seen, in_branch=in_branch)

    def guarded(self, step: Step) -> list[Step]:
        """Return the step that an otherwise stands in for, if this saga type has it."""
        return [each for each in self.steps if (each.service, each.handler.name) == (step.service, step.handler.guards)]

    @cached_property
    def depths(self) -> Mapping[str, frozenset[int]]:
        """Return in how many branches, one within another, each event may stand."""
        found: dict[str, set[int]] = {name: set() for name in self.events}
        found[self.start].add(0)
        for name in self.outside:
            found[name].add(0)
        changed = True
        while changed:
            changed = False
            for step in self.steps:
                for depth in self._step_depths(step, found):
                    for emission in (each for outcome in step.handler.outcomes for each in outcome):
                        reached = depth + emission.opens
                        for name in emission.types:
                            if reached not in found[name] and reached <= DEPTH_MAX:
                                found[name].add(reached)
                                changed = True
        return {name: frozenset(depths) for name, depths in found.items()}

    def branched(self, event: str) -> bool:
        """Return whether an event may stand in a branch."""
        return any(self.depths.get(event, ()))

    def _step_depths(self, step: Step, found: Mapping[str, set[int]]) -> set[int]:
        """Return where a step may run: a join in the innermost of its events' branches, a fan-in one further out."""
        handler = step.handler
        if handler.kind == "compensation":
            return {depth for name in handler.original for depth in found.get(name, ())}
        if handler.kind == "otherwise":
            return {depth for each in self.guarded(step) for depth in self._step_depths(each, found)}
        groups: list[set[int]] = []
        for place, types in enumerate(handler.waits_for):
            depths = {depth for name in types for depth in found.get(name, ())}
            gathered = place == handler.gathers
            groups.append({depth - 1 for depth in depths if depth} if gathered else depths)
        return {max(each) for each in product(*groups)} if groups else set()

    def undoing(self, step: Step) -> list[Step]:
        """Return the compensations of what a step emits."""
        return [each for each in self.steps if not set(each.handler.original).isdisjoint(step.handler.emits)]

    def _may_run(self, step: Step, events: Iterable[str]) -> bool:
        come = frozenset(events)
        handler = step.handler
        if handler.kind == "compensation":
            undone = handler.original_optional or not come.isdisjoint(handler.original)
            return undone and not come.isdisjoint(handler.causes)
        return bool(handler.waits_for) and all(not come.isdisjoint(types) for types in handler.waits_for)

    def _needed(self, step: Step, before: Mapping[str, Events]) -> Events:
        handler = step.handler
        groups = [types for types in handler.waits_for if types]
        if handler.kind == "compensation":
            groups = [handler.causes]
            if not handler.original_optional:
                groups.append(handler.original)
        found = _NONE
        for types in groups:
            ways = [before[name] | {name} for name in types if name in before]
            if ways:
                found |= frozenset.intersection(*ways)
        return found


def flows(choreography: Choreography) -> list[Flow]:
    """Return the flow of every saga type."""
    return [Flow(choreography, name) for name in choreography.sagas]
