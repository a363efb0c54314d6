"""I1: all or compensated.

What a saga that has ended must have undone, and must not have, lives here; whether it has ended does not (`ending`).
Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from choreo.choreography import Choreography, Node
from choreo.event import Envelope, emitted_id
from choreo.invariants.evidence import Evidence, aborts, emitter, named, once, saga_of, step_of, trigger_of, undone
from choreo.scope import covers, related


class _Unknown(NamedTuple):
    """A step whose outcome nobody knows: it was skipped, or ended by its `otherwise` with these events."""

    step: Node
    branch: str
    trigger: str
    told: frozenset[str] | None


def compensated(graph: Choreography, evidence: Evidence) -> Iterator[str]:
    """Yield what is neither all done nor all undone, or was undone twice."""
    events = list(once(evidence.events).values())
    failures = [each for each in events if aborts(graph, each)]
    saga = saga_of(graph, events)
    completed = saga is not None and any(each.type in saga.completes for each in events)
    if completed and failures:
        yield f"the saga completed, and {named(failures[0])} aborted it"
    found = undone(graph, evidence)
    for original in events:
        by = found.get(original.event_id, [])
        undoers = [each.name for each in graph.compensations_of(original.type) if _own(each, original)]
        if len(by) > 1:
            yield f"{named(original)} was undone {len(by)} times, by {' and '.join(by)}"
        elif by and completed:
            yield f"{named(original)} was undone by {by[0]}, though the saga completed"
        elif failures and undoers and not by and not completed:
            told = f"{named(failures[0])} aborted the saga"
            yield f"{named(original)} was never undone by {' or '.join(undoers)}, though {told}"
    for each in _unknown(graph, evidence, events):
        yield from _left(graph, each, events, found)


def _own(undoer: Node, original: Envelope) -> bool:
    """Whether an event is one that this compensation undoes: its own service's, or one from outside."""
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


def _left(
    graph: Choreography, unknown: _Unknown, events: Sequence[Envelope], found: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yield what was not undone once, though it may have happened (rule 16)."""
    step, branch, trigger, told = unknown
    for undoer in graph.handlers(step.service):
        own = undoer.handler
        if not own.original_optional or set(own.original).isdisjoint(step.handler.emits):
            continue
        if told is not None and told.isdisjoint(own.causes):
            continue
        causes = [each for each in events if each.type in own.causes and _reaches(graph, each, branch)]
        if causes:
            by = found.get(emitted_id(events[0].saga_id, step.name, branch, trigger, "effect"), ())
            if len(by) != 1:
                times = f"{len(by)} times" if by else "never"
                what = "skipped" if told is None else "given up"
                yield f"{step.name} was {what}, {named(causes[0])} came, and it was {times} undone with None"
            return


def _reaches(graph: Choreography, event: Envelope, branch: str) -> bool:
    """Whether an event counts in a branch (rule 7); the oracle keeps its own copy of `scope.reaches`."""
    if aborts(graph, event):
        return True
    return related(event.branch, branch) if event.compensates_id else covers(event.branch, branch)
