"""The invariants of a saga itself: I1 all or compensated, I2 one result a step, I3 one end, I4 comes to rest.

What must be true of a saga's records and of what services remember of it lives here, in this order; whether the tracker
says the same does not (`tracker_agreement`). Pure.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from choreo.choreography import Choreography, Node
from choreo.event import Envelope, emitted_id, short
from choreo.invariants.evidence import (
    Evidence,
    aborts,
    emitter,
    ends,
    named,
    once,
    saga_of,
    step_of,
    trigger_of,
    undone,
)
from choreo.scope import covers, fork, related
from choreo.tracker.views import AT_REST

INDEX_MAX = 16
"""How many more outputs a step may have numbered than it was allowed to publish."""


class _Unknown(NamedTuple):
    """A step whose outcome is unknown."""

    step: Node
    branch: str
    trigger: str
    given_up: frozenset[str] | None  # The events with which its `otherwise` ended it; None where it was skipped.


def compensated(graph: Choreography, evidence: Evidence) -> Iterator[str]:
    """Yield what is neither all done nor all undone, or was undone twice (I1)."""
    events = list(once(evidence.events).values())
    failures = [each for each in events if aborts(graph, each)]
    saga = saga_of(graph, events)
    completed = saga is not None and any(each.type in saga.completes for each in events)
    if completed and failures:
        yield f"the saga completed, and {named(failures[0])} aborted it"
    undone_by = undone(graph, evidence)
    for original in events:
        by = undone_by.get(original.event_id, [])
        undoers = [each.name for each in graph.compensations_of(original.type) if _own(each, original)]
        if len(by) > 1:
            yield f"{named(original)} was undone {len(by)} times, by {' and '.join(by)}"
        elif by and completed:
            yield f"{named(original)} was undone by {by[0]}, though the saga completed"
        elif failures and undoers and not by and not completed:
            aborted = f"{named(failures[0])} aborted the saga"
            yield f"{named(original)} was never undone by {' or '.join(undoers)}, though {aborted}"
    for each in _unknown(graph, evidence, events):
        yield from _not_undone(graph, each, events, undone_by)


def _own(undoer: Node, original: Envelope) -> bool:
    """Return whether a compensation undoes an event: one of its own service, or one from outside."""
    return emitter(original)[0] in {undoer.service, ""}


def _unknown(graph: Choreography, evidence: Evidence, events: Sequence[Envelope]) -> Iterator[_Unknown]:
    steps = {each.name: each for each in graph.nodes}
    for note in evidence.notes:
        if note.kind == "skipped" and (skipped := steps.get(f"{note.service}.{note.handler}")) is not None:
            yield _Unknown(skipped, note.branch, note.trigger, None)
    known = once(events)
    for each in events:
        step = step_of(graph, each)
        if step is not None and step.name != ".".join(emitter(each)):
            yield _Unknown(step, each.branch, trigger_of(step, each, each.branch, known), frozenset({each.type}))


def _not_undone(
    graph: Choreography, unknown: _Unknown, events: Sequence[Envelope], undone_by: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yield what was not undone once, though it may have happened (rule 16)."""
    step, branch, trigger, given_up = unknown
    for undoer in graph.handlers(step.service):
        own = undoer.handler
        if not own.original_optional or set(own.original).isdisjoint(step.handler.emits):
            continue
        if given_up is not None and given_up.isdisjoint(own.causes):
            continue
        causes = [each for each in events if each.type in own.causes and _reaches(graph, each, branch)]
        if causes:
            by = undone_by.get(emitted_id(events[0].saga_id, step.name, branch, trigger, "effect"), ())
            if len(by) != 1:
                times = f"{len(by)} times" if by else "never"
                what = "skipped" if given_up is None else "given up"
                yield f"{step.name} was {what}, {named(causes[0])} came, and it was {times} undone with None"
            return


def _reaches(graph: Choreography, event: Envelope, branch: str) -> bool:
    """Return whether an event counts in a branch (rule 7); the oracle keeps its own copy of `scope.reaches`."""
    if aborts(graph, event):
        return True
    return related(event.branch, branch) if event.compensates_id else covers(event.branch, branch)


def single(graph: Choreography, evidence: Evidence) -> Iterator[str]:
    """Yield steps that have committed more than one result (I2).

    A step that committed twice shows by an event that is there twice, or by one whose id is not that of its step.
    """
    events = once(evidence.events)
    times = Counter(each.event_id for each in evidence.events if each.causation_id)
    bodies: dict[str, set[tuple[str, bytes]]] = {}
    for each in evidence.events:
        bodies.setdefault(each.event_id, set()).add((each.type, each.body))
    for event_id, count in times.items():
        if count > 1 and not evidence.copies:
            yield f"{named(events[event_id])} was committed {count} times"
        if len(bodies[event_id]) > 1:
            yield f"{named(events[event_id])} was committed with {len(bodies[event_id])} bodies under one id"
    siblings = Counter(each.source for each in events.values())
    for each in events.values():
        step = step_of(graph, each)
        if step is not None and not _identified(step, each, events, siblings[each.source] + INDEX_MAX):
            yield f"{named(each)} has an id that is not its step's: another run would emit another event"


def _identified(step: Node, event: Envelope, events: Mapping[str, Envelope], indexes: int) -> bool:
    """Return whether an event's id is the digest of its saga, step, branch, trigger and place (rule 2)."""
    place = fork(event.branch)
    branches = [event.branch, *([place.outer] if place is not None and step.handler.fan_out else [])]
    return any(
        event.event_id == emitted_id(event.saga_id, step.name, branch, trigger_of(step, event, branch, events), index)
        for branch in branches
        for index in range(indexes)
    )


def ended(graph: Choreography, evidence: Evidence) -> Iterator[str]:
    """Yield what is not one end, or did not stay one (I3)."""
    events = list(once(evidence.events).values())
    saga = saga_of(graph, events)
    found = [each for each in events if saga is not None and ends(saga, each)]
    if len(found) > 1:
        yield f"{len(found)} events end the saga: {' and '.join(map(named, found))}"
    ended_by = {each.event_id for each in evidence.notes if each.kind == "ended"}
    if strange := sorted(ended_by - {each.event_id for each in found}):
        yield f"choreo.ends names {' and '.join(strange)}, which ends nothing"
    if evidence.view is not None and found and not ended_by:
        yield f"{named(found[0])} ended the saga, and choreo.ends does not say so"
    for before, after in pairwise(evidence.states):
        if before in AT_REST and after is not before:
            yield f"the saga was {before}, and then {after}"


def rested(graph: Choreography, evidence: Evidence) -> Iterator[str]:
    """Yield what is still open, though nothing is left that would close it (I4)."""
    events = list(once(evidence.events).values())
    saga = saga_of(graph, events)
    if saga is None:
        yield f"the saga has no start; it has {' and '.join(map(named, events)) or 'nothing'}"
        return
    aborted = any(aborts(graph, each) for each in events)
    if not any(ends(saga, each) for each in events) and (saga.fails or not aborted):
        wanted = saga.manifest.fails if aborted else saga.manifest.completes
        yield f"it never ended: no {' or '.join(map(short, wanted))} from {saga.owner} came"
    for service, memory in sorted((evidence.memories or {}).items()):
        for key in memory.waiting:
            yield f"{service}.{key[0]} is still {memory.fences[key].status.name.lower()}"
        if memory.held:
            yield f"{service} still holds back {' and '.join(short(each.type) for each in memory.held.values())}"
        for kind, handler, *_ in memory.timers:
            yield f"{service}.{handler} still has a timer set ({kind.name.lower()})"
    if evidence.view is not None and not evidence.view.at_rest:
        waits = "; ".join(evidence.view.waiting_for) or "nothing that anybody knows of"
        yield f"the tracker has it {evidence.view.state}, waiting for: {waits}"
