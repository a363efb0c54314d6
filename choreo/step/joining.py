"""Handlers that wait for several events: joins within a branch, and fan-ins over all branches.

The rules of SEMANTICS 6, 7 and 12 about what completes them live here; what is then done with the call does not. `plan`
asks for every event that such a handler waits for. Pure.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from choreo.event import Envelope
from choreo.memory import Memory, Recorded
from choreo.scope import covers, fork
from choreo.step.call import Argument, Call
from choreo.step.reactions import Join, Names, Rules
from choreo.step.recording import recall
from choreo.step.undoing import again, allowed


class Gathering(NamedTuple):
    """Branches of one fan-out, as far as each has brought something.

    Attributes:
        outer: The branch that the fan-out ran in.
        key: The beginning of the fan-out step's idempotency key; the trigger of what gathers it.
        of: How many branches there are.
    """

    outer: str
    key: str
    of: int


def joined(rules: Rules, memory: Memory, join: Join, envelope: Envelope) -> Iterator[Call]:
    """Yield a join in every branch that this event completes it in, or a fan-in for every fan-out."""
    awaited = frozenset().union(*join.waits_for)
    here = [each for each in memory.events.values() if each.type in awaited]
    if join.gathers is None:
        yield from _within(rules, memory, join, envelope, here)
    else:
        yield from _over(rules, memory, join, envelope, here)


def _within(rules: Rules, memory: Memory, join: Join, envelope: Envelope, here: list[Recorded]) -> Iterator[Call]:
    handler = join.handler
    branches = dict.fromkeys([envelope.branch, *(each.branch for each in here)])
    for branch in branches:
        if not covers(envelope.branch, branch):
            continue
        if (handler.name, branch, "") in memory.fences:
            if rules.at_least_once:
                yield from again(rules, memory, handler.name, envelope, "", branch)
            continue
        chosen = [_first(here, types, branch) for types in join.waits_for]
        found = [each for each in chosen if each is not None]
        if len(found) < len(chosen) or all(each.branch != branch for each in found):
            continue
        events = tuple(_envelope(rules, each, envelope) for each in found)
        yield from allowed(rules, memory, Call(handler, branch, "", envelope, events, events))


def _over(rules: Rules, memory: Memory, join: Join, envelope: Envelope, here: list[Recorded]) -> Iterator[Call]:
    handler = join.handler
    assert join.gathers is not None
    wanted = join.waits_for[join.gathers]
    brought: dict[Gathering, dict[int, Recorded]] = {}
    for each in here:
        found = fork(each.branch) if each.type in wanted else None
        if found is not None:
            # The first of each branch counts.
            brought.setdefault(Gathering(found.outer, found.key, found.of), {}).setdefault(found.path, each)
    for at, branches in brought.items():
        if not _concerns(envelope, at, wanted):
            continue
        if (handler.name, at.outer, at.key) in memory.fences:
            if rules.at_least_once:
                yield from again(rules, memory, handler.name, envelope, at.key, at.outer)
            continue
        gathered = tuple(_envelope(rules, branches[path], envelope) for path in sorted(branches))
        events: list[Argument] = [gathered]
        causes = list(gathered)
        for place, types in enumerate(join.waits_for):
            other = _first(here, types, at.outer) if place != join.gathers else None
            if other is not None:
                cause = _envelope(rules, other, envelope)
                events.insert(place, cause)
                causes.append(cause)
        if len(gathered) == at.of and len(events) == len(join.waits_for):
            yield from allowed(rules, memory, Call(handler, at.outer, at.key, envelope, tuple(events), tuple(causes)))


def _concerns(envelope: Envelope, at: Gathering, wanted: Names) -> bool:
    """Whether an event may complete this fan-in: it comes from one of its branches, or counts where it runs."""
    if envelope.type not in wanted:
        return covers(envelope.branch, at.outer)
    found = fork(envelope.branch)
    return found is not None and Gathering(found.outer, found.key, found.of) == at


def _first(here: Iterable[Recorded], types: Names, branch: str) -> Recorded | None:
    return next((each for each in here if each.type in types and covers(each.branch, branch)), None)


def _envelope(rules: Rules, recorded: Recorded, near: Envelope) -> Envelope:
    return near if recorded.event_id == near.event_id else recall(rules, near.saga_id, recorded)
