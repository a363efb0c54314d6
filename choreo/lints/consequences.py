"""What an event leads to for certain, whichever way a saga goes.

Following steps that nothing can keep from running lives here; what may follow at all does not (`flow`). `undoing` asks
it whether a failure comes to what undoes a step.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

from choreo.choreography import Step
from choreo.lints.flow import Events, Flow


@dataclass(frozen=True, eq=False)
class Consequences:
    """What follows in one saga type.

    Args:
        flow: The saga type.
    """

    _flow: Flow

    def reach(self, wanted: AbstractSet[str], *events: str) -> bool:
        """Return whether one of these comes for certain, sooner or later, once the others have come."""
        past = self._flow.past(*events)
        return not past.isdisjoint(wanted) or not self._closed(past, gathering=True).isdisjoint(wanted)

    def _closed(self, events: Events, *, gathering: bool) -> Events:
        come, level = set(events), events
        while level:
            heard = {step.name: step for name in level for step in self._heard.get(name, ())}
            running = [
                always
                for name, step in heard.items()
                if not (always := self._always[name]) <= come and self._runs(step, come, gathering=gathering)
            ]
            level = frozenset().union(*running) - come
            come |= level
        return frozenset(come)

    @cached_property
    def _heard(self) -> Mapping[str, list[Step]]:
        """Return the steps that each event may be the last one to be waited for of."""
        found: dict[str, list[Step]] = {}
        for step in self._flow.steps:
            handler = step.handler
            names = {name for types in self._flow.waits_for(step) for name in types}
            if handler.kind == "compensation":
                names.update(handler.causes, handler.original)
                for each in self._undone(step) if handler.original_optional else ():
                    names.update(name for types in self._flow.waits_for(each) for name in types)
            if handler.fan_in:
                names.update(self._openers, self._flow.failures)
            for name in names if self._always[step.name] else ():
                found.setdefault(name, []).append(step)
        return found

    @cached_property
    def _always(self) -> Mapping[str, Events]:
        """Return what each step emits whatever its outcome."""
        return {step.name: frozenset.intersection(*_outcomes(step)) for step in self._flow.steps}

    @cached_property
    def _cancelled_by(self) -> Mapping[str, Events]:
        """Return for each step what keeps it from running."""
        return {
            step.name: frozenset(step.handler.unless).union(*(each.handler.causes for each in self._flow.undoing(step)))
            for step in self._flow.steps
        }

    def _undone(self, compensation: Step) -> list[Step]:
        return [each for name in compensation.handler.original for each in self._flow.producers(name)]

    def _runs(self, step: Step, come: AbstractSet[str], *, gathering: bool) -> bool:
        """Return whether a step runs for certain where these have come: it is ready, and nothing cancels it."""
        handler, flow = step.handler, self._flow
        if handler.kind == "compensation":
            if come.isdisjoint(handler.causes):
                return False
            known = all(not come.isdisjoint(types) for each in self._undone(step) for types in flow.waits_for(each))
            return not come.isdisjoint(handler.original) or (handler.original_optional and known)
        ends = not flow.completes.isdisjoint(handler.emits) and not come.isdisjoint(flow.failures)
        if handler.kind != "forward" or ends or not come.isdisjoint(self._cancelled_by[step.name]):
            return False
        if handler.fan_in and not gathering:
            return False
        return all(
            self._gathered(types, come) if place == handler.gathers else not come.isdisjoint(types)
            for place, types in enumerate(handler.waits_for)
        )

    def _gathered(self, types: Iterable[str], come: AbstractSet[str]) -> bool:
        """Return whether each branch brings one of these for certain, whichever way it goes."""
        openers = self._openers & come
        shared = frozenset(name for name in come if not self._flow.branched(name)) | (self._flow.failures & come)
        return bool(openers) and all(
            self._brings(frozenset(types), shared | {opener}, len(self._flow.steps)) for opener in openers
        )

    def _brings(self, types: Events, come: Events, splits: int) -> bool:
        come = self._closed(come, gathering=False)
        if not come.isdisjoint(types):
            return True
        for step in self._flow.steps if splits else ():
            outcomes = _outcomes(step)
            if (
                len(outcomes) > 1
                and step.handler.kind == "forward"
                and not any(outcome <= come for outcome in outcomes)
                and self._runs(step, come, gathering=False)
            ):
                return all(self._brings(types, come | outcome, splits - 1) for outcome in outcomes)
        return False

    @cached_property
    def _openers(self) -> Events:
        """Return the events that open branches."""
        outcomes = (outcome for step in self._flow.steps for outcome in step.handler.outcomes)
        return frozenset(name for outcome in outcomes for each in outcome if each.opens for name in each.types)


def _outcomes(step: Step) -> list[Events]:
    """Return what a step may emit, one of them each time."""
    return [frozenset(name for each in outcome for name in each.types) for outcome in step.handler.outcomes] or [
        frozenset()
    ]
