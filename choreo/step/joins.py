"""Handlers that wait for several events: joins within a branch, and fan-ins over all branches.

The rules of SEMANTICS 6, 7 and 12 about what completes them live here; what is then done with the step does not. Pure.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct

from choreo.choreography import Names
from choreo.event import Envelope
from choreo.memory import Recorded
from choreo.scope import covers, fork
from choreo.step.compensations import Compensations
from choreo.step.decisions import Argument, Decision, Run
from choreo.step.rules import Join
from choreo.step.saga_memory import SagaMemory


class Gathering(NamedTuple):
    """The branches of one fan-out, as a fan-in gathers them.

    Attributes:
        outer: The branch that the fan-out ran in, and the fan-in does.
        key: The beginning of the fan-out step's idempotency key: the fan-in's trigger.
        of: How many branches there are.
    """

    outer: str
    key: str
    of: int


class Joins(Struct, frozen=True):
    """Decides which joins and fan-ins of one saga an event completes."""

    saga: SagaMemory

    def completed(self, join: Join, event: Envelope) -> Iterator[Decision]:
        """Yield a join in every branch that this event completes it in, or a fan-in for every fan-out."""
        awaited = frozenset().union(*join.waits_for)
        waiting = [each for each in self.saga.memory.events.values() if each.type in awaited]
        if join.gathers is None:
            yield from self._within(join, event, waiting)
        else:
            yield from self._over(join, join.gathers, event, waiting)

    def _within(self, join: Join, event: Envelope, waiting: list[Recorded]) -> Iterator[Decision]:
        for branch in dict.fromkeys([event.branch, *(each.branch for each in waiting)]):
            if not covers(event.branch, branch):
                continue
            key = (join.handler.name, branch, "")
            if key in self.saga.memory.fences:
                if self.saga.rules.at_least_once:
                    yield from Compensations(self.saga).again(key, event)
                continue
            chosen = [_first(waiting, types, branch) for types in join.waits_for]
            found = [each for each in chosen if each is not None]
            # An inner branch is not joined by outer events alone.
            if len(found) == len(chosen) and any(each.branch == branch for each in found):
                causes = tuple(self._envelope(each, event) for each in found)
                yield from Compensations(self.saga).allowed(Run(join.handler, key, event, causes, causes))

    def _over(self, join: Join, gathers: int, event: Envelope, waiting: list[Recorded]) -> Iterator[Decision]:
        gathered_types = join.waits_for[gathers]
        brought: dict[Gathering, dict[int, Recorded]] = {}
        for each in waiting:
            place = fork(each.branch) if each.type in gathered_types else None
            if place is not None:
                # The first of each branch counts.
                brought.setdefault(Gathering(place.outer, place.key, place.of), {}).setdefault(place.path, each)
        for gathering, by_path in brought.items():
            if not _concerns(event, gathering, gathered_types):
                continue
            key = (join.handler.name, gathering.outer, gathering.key)
            if key in self.saga.memory.fences:
                if self.saga.rules.at_least_once:
                    yield from Compensations(self.saga).again(key, event)
                continue
            gathered = tuple(self._envelope(by_path[path], event) for path in sorted(by_path))
            arguments: list[Argument] = [gathered]
            causes = list(gathered)
            for place_in_signature, types in enumerate(join.waits_for):
                other = _first(waiting, types, gathering.outer) if place_in_signature != gathers else None
                if other is not None:
                    cause = self._envelope(other, event)
                    arguments.insert(place_in_signature, cause)
                    causes.append(cause)
            if len(gathered) == gathering.of and len(arguments) == len(join.waits_for):
                run = Run(join.handler, key, event, tuple(arguments), tuple(causes))
                yield from Compensations(self.saga).allowed(run)

    def _envelope(self, recorded: Recorded, near: Envelope) -> Envelope:
        return near if recorded.event_id == near.event_id else self.saga.recall(recorded)


def _concerns(event: Envelope, gathering: Gathering, gathered_types: Names) -> bool:
    """Return whether an event may complete a fan-in: it comes from one of its branches, or counts where it runs."""
    if event.type not in gathered_types:
        return covers(event.branch, gathering.outer)
    place = fork(event.branch)
    return place is not None and Gathering(place.outer, place.key, place.of) == gathering


def _first(waiting: Iterable[Recorded], types: Names, branch: str) -> Recorded | None:
    return next((each for each in waiting if each.type in types and covers(each.branch, branch)), None)
