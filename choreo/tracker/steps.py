"""The steps of one saga, worked out from its events and notes.

Which step each record belongs to and what came of it is found here; what makes a step due (`joining`), what is undone
(`undoing`) and what all of that says about the saga as a whole (`verdict`) are not. Pure: no I/O, no clock. The
rules mirror those by which services act, so that the tracker's answer is theirs.
"""

from collections.abc import Iterable, Mapping, Sequence

from choreo.scope import KEY_CHARS, emitter, fan_in_trigger, fork
from choreo.tracker import joining, undoing
from choreo.tracker.graph import Graph, Node
from choreo.tracker.seen import Noted, Seen, as_written, parents
from choreo.tracker.step import SETTLING, Steps, effect_key, step_at

_HOLDING = frozenset({"parked", "retried"})


def steps_of(graph: Graph, saga_id: str, events: Sequence[Seen], notes: Iterable[Noted]) -> Steps:
    """Return every step that these records speak of, and every one that is due.

    Args:
        graph: The choreography.
        saga_id: The saga that all records belong to.
        events: Without duplicates, in the order of `in_order`.
        notes: Without duplicates.
    """
    steps: Steps = {}
    joining.due(graph, steps, events)
    known = {each.event_id: each for each in events}
    for event in events:
        if event.causation_id:
            _result(graph, steps, saga_id, event, known)
    for note in as_written(notes):
        if note.handler:
            _note(graph, steps, note)
    undoing.owe(graph, steps, saga_id, events)
    return steps


def _result(graph: Graph, steps: Steps, saga_id: str, event: Seen, known: Mapping[str, Seen]) -> None:
    """Give an event to the step that emitted it."""
    service, handler = emitter(event.source)
    node = graph.step_of(service, handler)
    if node is None:
        return
    opened = fork(event.branch)
    branch, trigger = event.branch, ""
    if opened is not None:
        # A step that returned a list ran around the branches that carry its key; what it returned beside the list
        # is not in one of them.
        trigger = _trigger(node, event, opened.outer, known)
        if effect_key(saga_id, node, opened.outer, trigger)[:KEY_CHARS] == opened.key:
            branch = opened.outer
    if branch == event.branch:
        trigger = _trigger(node, event, branch, known)
    step = step_at(steps, node, branch, trigger)
    step.results.append(event)
    if node.name != handler:
        step.given_up.append(event)


def _trigger(node: Node, event: Seen, branch: str, known: Mapping[str, Seen]) -> str:
    """Return what a step of this branch ran for that emitted an event (SEMANTICS rule 2)."""
    if node.kind == "compensation":
        return event.compensates_id
    if node.gathers is None:
        return "" if node.joins else event.causation_id
    causes = (known[each] for each in parents(event) if each in known)
    return fan_in_trigger(branch, node.waits_for[node.gathers], causes)


def _note(graph: Graph, steps: Steps, note: Noted) -> None:
    """Tell a step what the journal says about it."""
    if note.kind not in SETTLING and note.kind not in _HOLDING and note.kind != "resumed":
        return
    node = graph.step_of(note.service, note.handler)
    if node is None:
        # No manifest names it; a step that waits for a person is shown all the same.
        known = (step.node for step in steps.values() if step.node.key == (note.service, note.handler))
        node = next(known, None) or Node(note.service, note.handler)
    step = step_at(steps, node, note.branch, note.trigger)
    if note.kind in _HOLDING:
        step.held, step.ready = note, True
        step.attempt = max(step.attempt, note.attempt)
        if note.error or step.failed is None:
            step.failed = note
    elif note.kind == "resumed" or (note.kind == "resolved" and note.event_type):
        # A person's event comes as the step's result, or is dropped like any other.
        step.held, step.ready = note, True
        step.earlier, step.attempt = step.earlier + step.attempt, 0
    elif step.settled is None or note.kind != "dropped":
        step.settled = note
