"""I3 and I4: a saga ends once, stays so, and comes to rest.

What must be true of its end, and what must not be left open, lives here; what must have been undone by then does not
(`compensation`). Pure.
"""

from collections.abc import Iterator
from itertools import pairwise

from choreo.choreography import Choreography
from choreo.event import short
from choreo.invariants.evidence import Evidence, aborts, ends, named, once, saga_of
from choreo.tracker.views import AT_REST


def ended(graph: Choreography, evidence: Evidence) -> Iterator[str]:
    """Yield what is not one end, or did not stay one (I3)."""
    events = list(once(evidence.events).values())
    saga = saga_of(graph, events)
    found = [each for each in events if saga is not None and ends(saga, each)]
    if len(found) > 1:
        yield f"{len(found)} events end the saga: {' and '.join(map(named, found))}"
    told = {each.event_id for each in evidence.notes if each.kind == "ended"}
    if strange := sorted(told - {each.event_id for each in found}):
        yield f"choreo.ends names {' and '.join(strange)}, which ends nothing"
    if evidence.view is not None and found and not told:
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
