"""What may follow what, in one saga type.

Which steps a saga of this type can take, what must have come before an event and in which branches it stands live here,
told by manifests alone. What excludes an event does not (`exclusion`), nor what it leads to (`consequences`).
"""

from collections.abc import Mapping, Sequence
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
        come = {self.start, *self.outside} - without
        level, steps = list(come), dict[str, Step]()
        while level:
            ready = {step.name: step for name in level for step in self._interested.get(name, ())}
            fresh = {name: step for name, step in ready.items() if name not in steps and self._may_run(step, come)}
            steps |= fresh
            level = [name for step in fresh.values() for name in step.handler.emits if name not in come | without]
            come.update(level)
        return tuple(steps.values())

    @cached_property
    def _interested(self) -> Mapping[str, list[Step]]:
        """Return whom each event may make ready, in the choreography's order."""
        found: dict[str, list[Step]] = {}
        for step in self.choreography.steps:
            handler = step.handler
            groups = [handler.causes, handler.original] if handler.kind == "compensation" else self.waits_for(step)
            for name in {name for types in groups for name in types}:
                found.setdefault(name, []).append(step)
        return found

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
        # In the order they are reached, so that a graph without circles takes two rounds.
        emitted = dict.fromkeys(name for step in self.steps for name in step.handler.emits)
        changed = True
        while changed:
            changed = False
            for name in emitted:
                if name == self.start or name in self.outside:
                    continue
                past = frozenset.intersection(*(self._needed(step, found) for step in self.producers(name)))
                changed = changed or past != found[name]
                found[name] = past
        return found

    def producers(self, event: str) -> Sequence[Step]:
        """Return the steps that may emit an event."""
        return self._producers.get(event, ())

    @cached_property
    def _producers(self) -> Mapping[str, list[Step]]:
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            for name in dict.fromkeys(step.handler.emits):
                found.setdefault(name, []).append(step)
        return found

    def past(self, *events: str) -> Events:
        """Return what has come for certain once these have come, themselves included."""
        return frozenset(events).union(*(self.before[each] for each in events))

    def waits_for(self, step: Step) -> Sequence[Sequence[str]]:
        """Return what makes a step ready: for each event parameter the types that it takes.

        An otherwise is ready when the step that it stands in for is; a compensation waits for its cause alone.
        """
        if step.handler.kind == "otherwise":
            guarded = self.guarded(step)
            return guarded.handler.waits_for if guarded is not None else []
        return step.handler.waits_for

    def guarded(self, step: Step) -> Step | None:
        """Return the step that an otherwise stands in for."""
        return self._by_name.get((step.service, step.handler.guards))

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str], Step]:
        return {(step.service, step.handler.name): step for step in self.choreography.steps}

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
        groups: list[set[int]] = []
        for place, types in enumerate(self.waits_for(step)):
            depths = {depth for name in types for depth in found.get(name, ())}
            gathered = place == handler.gathers
            groups.append({depth - 1 for depth in depths if depth} if gathered else depths)
        return {max(each) for each in product(*groups)} if groups else set()

    def undoing(self, step: Step) -> list[Step]:
        """Return the compensations of what a step emits."""
        return list({each.name: each for name in step.handler.emits for each in self._undoing.get(name, ())}.values())

    @cached_property
    def _undoing(self) -> Mapping[str, list[Step]]:
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            for name in step.handler.original:
                found.setdefault(name, []).append(step)
        return found

    def _may_run(self, step: Step, come: set[str]) -> bool:
        handler = step.handler
        if handler.kind == "compensation":
            undone = handler.original_optional or not come.isdisjoint(handler.original)
            return undone and not come.isdisjoint(handler.causes)
        waits_for = self.waits_for(step)
        return bool(waits_for) and all(not come.isdisjoint(types) for types in waits_for)

    def _needed(self, step: Step, before: Mapping[str, Events]) -> Events:
        handler = step.handler
        groups = self.waits_for(step)
        if handler.kind == "compensation":
            groups = [handler.causes, *([] if handler.original_optional else [handler.original])]
        found = _NONE
        for types in groups:
            ways = [before[name] | {name} for name in types if name in before]
            if ways:
                found |= frozenset.intersection(*ways)
        return found


def flows(choreography: Choreography) -> list[Flow]:
    """Return the flow of every saga type."""
    return [Flow(choreography, name) for name in choreography.sagas]
