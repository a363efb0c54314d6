"""What a step may come to, in one saga type.

Everything that a step may return lives here, with its retries spent and with a cancelling event before it, too; when it
runs and what follows do not (`consequences`).
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

from choreo.checks.exclusion import Repetition
from choreo.checks.saga_flow import SagaFlow
from choreo.choreography import NOTHING, Names, Node


def cancelled(step: str) -> str:
    """Return what stands among the events of a saga for a step that was cancelled."""
    return f"{step} is cancelled"


@dataclass(frozen=True, eq=False)
class StepOutcomes:
    """What the steps of one saga type may come to."""

    flow: SagaFlow
    repetition: Repetition  # What comes once in a branch.

    def of(self, step: Node, come: AbstractSet[str], seen: Names, *, aborted: bool) -> Sequence[Names]:
        """Return what a step that is ready may come to, one of it each time; `seen` came elsewhere and counts here."""
        name = step.name
        if name in self._simple:
            return self._plain[name]
        found = list(self._plain[name])
        if aborted:
            found = [each - self.flow.completes for each in found] if step.service == self.flow.saga.owner else found
            late = step.delays if self.knows_of_failure(step, come, seen) else NOTHING
            found += [each - late for each in found] if late else []
        if not (come.isdisjoint(step.handler.unless) and seen.isdisjoint(step.handler.unless)):
            found.append(NOTHING)
        if not self.cancels[name].isdisjoint(come) or not self.cancels[name].isdisjoint(seen):
            found.append(frozenset({cancelled(name)}))
        if len(found) > 1 and (own := self._own.get(name, NOTHING) & come):
            # It has run: it has returned what nobody else returns.
            found = [each for each in found if own <= each] or found
        return list(dict.fromkeys(found))

    def knows_of_failure(self, step: Node, come: AbstractSet[str], seen: Names) -> bool:
        """Return whether a step's service has read of a failure, or emitted one: that ends what it lets come later."""
        failures = self._failures_seen[step.service]
        return not failures.isdisjoint(come) or not failures.isdisjoint(seen)

    def taken(self, step: Node, come: AbstractSet[str]) -> bool:
        """Return whether a step's outcome has come already, for nobody else brings it."""
        own = self._own.get(step.name, NOTHING)
        return any(outcome <= come and not own.isdisjoint(outcome) for outcome in self._plain[step.name])

    @cached_property
    def traces(self) -> Mapping[str, Names]:
        """Return for each step what tells by itself that it has run and come to all that it comes to."""
        whole = {name for name, outcomes in self._plain.items() if all(len(each) <= 1 for each in outcomes)}
        return {
            step.name: self._own.get(step.name, NOTHING) if step.name in whole else NOTHING for step in self.flow.steps
        }

    @cached_property
    def cancels(self) -> Mapping[str, Names]:
        """Return for each step the causes that cancel it."""
        return {
            step.name: NOTHING.union(*(each.causes for each in self.flow.undoing(step))) for step in self.flow.steps
        }

    @cached_property
    def _plain(self) -> Mapping[str, tuple[Names, ...]]:
        once = {step.name for step in self.repetition.once}
        found: dict[str, tuple[Names, ...]] = {}
        for step in self.flow.steps:
            named = [frozenset(name for each in outcome for name in each.types) for outcome in step.outcomes]
            if step.kind == "forward" and step.name not in once and any(named):
                # It may return nothing again and again until it has counted enough.
                named = [each for each in named if each]
            found[step.name] = tuple(named) or (NOTHING,)
        return found

    @cached_property
    def _simple(self) -> frozenset[str]:
        """Return the steps that come to one thing only, whatever has come."""
        return frozenset(
            step.name
            for step in self.flow.steps
            if len(self._plain[step.name]) == 1
            and not (step.handler.unless or self.cancels[step.name] or step.delays)
            and not (step.service == self.flow.saga.owner and self.flow.completes & self._plain[step.name][0])
        )

    @cached_property
    def _failures_seen(self) -> Mapping[str, Names]:
        """Return for each service the failures that it reads or emits."""
        handlers = self.flow.graph.handlers
        return {
            service: self.flow.failures
            & NOTHING.union(*(each.reads.union(each.handler.emits) for each in handlers(service)))
            for service in {step.service for step in self.flow.steps}
        }

    @cached_property
    def _own(self) -> Mapping[str, Names]:
        """Return for each step that runs once what nobody else brings."""
        alone = self.repetition.alone
        return {
            step.name: frozenset(name for name in step.emits | step.otherwise if alone(name, step))
            for step in self.repetition.once
        }
