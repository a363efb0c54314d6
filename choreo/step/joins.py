"""Handlers that wait for several events: joins within a branch, and fan-ins over all branches.

The rules of SEMANTICS 6, 7 and 12 about what completes them live here; what is then done with the step does not. Pure.
"""

from collections.abc import Iterator

from msgspec import Struct

from choreo.choreography import Names
from choreo.event import Envelope
from choreo.memory import Recorded
from choreo.scope import by_fan_out, covers, fork
from choreo.step.compensations import Compensations
from choreo.step.decisions import Argument, Decision, Run
from choreo.step.rules import Join
from choreo.step.saga_memory import SagaMemory

Found = Recorded | tuple[Recorded, ...] | None
"""What has come for one parameter: an event, one from each branch of a fan-out, or not yet all."""


class Joins(Struct, frozen=True):
    """Decides which joins and fan-ins of one saga an event completes."""

    saga: SagaMemory

    def completed(self, join: Join, event: Envelope) -> Iterator[Decision]:
        """Yield a join in every branch that this event completes it in, or a fan-in for every fan-out."""
        awaited = frozenset().union(*join.waits_for)
        kept = [each for each in self.saga.memory.events.values() if each.type in awaited]
        places = _branches(join, event, kept) if join.gathers is None else _fan_outs(join, join.gathers, event, kept)
        compensations = Compensations(self.saga)
        for branch, trigger, found in places:
            key = (join.handler.name, branch, trigger)
            if key in self.saga.memory.fences:
                yield from compensations.again(key, event)
            elif None not in found:
                arguments = tuple(self._argument(each, event) for each in found)
                gathered = [cause for each in arguments if not isinstance(each, Envelope) for cause in each or ()]
                causes = (*gathered, *(each for each in arguments if isinstance(each, Envelope)))
                yield from compensations.allowed(Run(join.handler, key, event, arguments, causes))

    def _argument(self, found: Found, event: Envelope) -> Argument:
        if not isinstance(found, Recorded):
            return tuple(self._envelope(each, event) for each in found or ())
        return self._envelope(found, event)

    def _envelope(self, recorded: Recorded, event: Envelope) -> Envelope:
        return event if recorded.event_id == event.event_id else self.saga.recall(recorded)


def _branches(join: Join, event: Envelope, kept: list[Recorded]) -> Iterator[tuple[str, str, list[Found]]]:
    """Yield every branch that an event may complete a join in, with what has come for it."""
    for branch in dict.fromkeys([event.branch, *(each.branch for each in kept)]):
        if covers(event.branch, branch):
            found: list[Found] = [_first(kept, types, branch) for types in join.waits_for]
            # An inner branch is not joined by outer events alone.
            inside = any(isinstance(each, Recorded) and each.branch == branch for each in found)
            yield branch, "", found if inside else [None]


def _fan_outs(
    join: Join, gathers: int, event: Envelope, kept: list[Recorded]
) -> Iterator[tuple[str, str, list[Found]]]:
    """Yield every fan-out whose fan-in an event may complete, with what has come for it."""
    gathered_types = join.waits_for[gathers]
    own = fork(event.branch)
    for fan_out, by_path in by_fan_out(kept, gathered_types).items():
        inside = own is not None and own._replace(path=0) == fan_out
        if inside if event.type in gathered_types else covers(event.branch, fan_out.outer):
            found: list[Found] = [_first(kept, types, fan_out.outer) for types in join.waits_for]
            found[gathers] = tuple(by_path[path] for path in sorted(by_path)) if len(by_path) == fan_out.of else None
            yield fan_out.outer, fan_out.key, found


def _first(kept: list[Recorded], types: Names, branch: str) -> Recorded | None:
    return next((each for each in kept if each.type in types and covers(each.branch, branch)), None)
