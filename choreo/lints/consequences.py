"""What an event leads to for certain, whichever way a saga goes.

Following steps that nothing can keep from running lives here; what may follow at all does not (`flow`). `undoing` asks
it whether a failure comes to what undoes a step.
"""

from collections.abc import Iterable
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

    def of(self, *events: str) -> Events:
        """Return what comes for certain, sooner or later, once these have come: their past and all that it leads to."""
        return self._closed(self._flow.past(*events), gathering=True)

    def _closed(self, events: Events, *, gathering: bool) -> Events:
        come = set(events)
        while (
            fresh := {
                name
                for step in self._flow.steps
                if self._runs(step, frozenset(come), gathering=gathering)
                for name in _always(step)
            }
            - come
        ):
            come |= fresh
        return frozenset(come)

    def _runs(self, step: Step, come: Events, *, gathering: bool) -> bool:
        """Return whether a step runs for certain where these have come: it is ready, and nothing cancels it."""
        handler = step.handler
        if handler.kind == "forward":
            causes = {name for each in self._flow.undoing(step) for name in each.handler.causes}
            ends = not come.isdisjoint(self._flow.failures) and not self._flow.completes.isdisjoint(handler.emits)
            if ends or not come.isdisjoint(causes.union(handler.unless)):
                return False
            return all(
                self._gathered(types, come) if place == handler.gathers and gathering else not come.isdisjoint(types)
                for place, types in enumerate(handler.waits_for)
                if place != handler.gathers or gathering
            ) and (gathering or not handler.fan_in)
        if handler.kind != "compensation" or come.isdisjoint(handler.causes):
            return False
        if not come.isdisjoint(handler.original):
            return True
        ways = [each for name in handler.original for each in self._flow.producers(name)]
        return handler.original_optional and all(
            not come.isdisjoint(types) for each in ways for types in each.handler.waits_for
        )

    def _gathered(self, types: Iterable[str], come: Events) -> bool:
        """Return whether each branch brings one of these for certain, whichever way it goes."""
        openers = come & self._openers
        shared = frozenset(name for name in come if not self._flow.branched(name)) | (come & self._flow.failures)
        return bool(openers) and all(
            self._brings(frozenset(types), shared | {opener}, len(self._flow.steps)) for opener in openers
        )

    def _brings(self, types: Events, come: Events, splits: int) -> bool:
        come = self._closed(come, gathering=False)
        if not come.isdisjoint(types):
            return True
        for step in self._flow.steps if splits else ():
            outcomes = [{name for each in outcome for name in each.types} for outcome in step.handler.outcomes]
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


def _always(step: Step) -> Events:
    """Return what a step emits whatever its outcome."""
    outcomes = [frozenset(name for each in outcome for name in each.types) for outcome in step.handler.outcomes]
    return frozenset.intersection(*outcomes) if outcomes else frozenset()
