"""I2: at most one committed result a step.

What a step may have committed, and under which ids, lives here. A step that ran twice and committed twice shows by an
event that is there twice, or by one whose id is not that of its step. Pure.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from choreo.choreography import Choreography, Node
from choreo.event import Envelope, emitted_id
from choreo.invariants.evidence import Evidence, named, once, step_of, trigger_of
from choreo.scope import fork

INDEX_MAX = 16
"""How many more outputs a step may have numbered than it was allowed to publish."""


def single(graph: Choreography, evidence: Evidence) -> Iterator[str]:
    """Yield steps that have committed more than one result."""
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
    """Whether an event's id follows from its step (rule 2): a digest of saga, step, branch, trigger and place."""
    place = fork(event.branch)
    branches = [event.branch, *([place.outer] if place is not None and step.handler.fan_out else [])]
    return any(
        event.event_id == emitted_id(event.saga_id, step.name, branch, trigger_of(step, event, branch, events), index)
        for branch in branches
        for index in range(indexes)
    )
