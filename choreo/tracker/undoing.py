"""What is undone of a saga, and what still has to be.

Owed compensations are found here, by the rules that services go by (SEMANTICS 7 and 14 to 18), and hung on the steps
that they undo. `steps` asks once a saga, when it knows what came of every forward step. Pure.
"""

from collections.abc import Sequence

from choreo.scope import reaches
from choreo.tracker.graph import Graph, Node
from choreo.tracker.seen import Seen
from choreo.tracker.step import Step, Steps, effect_key, step_at


def owe(graph: Graph, steps: Steps, saga_id: str, events: Sequence[Seen]) -> None:
    """Add the compensations that have a cause, and hang every one on the step that it undoes."""
    for node in graph.compensations:
        causes = [each for each in events if each.type in node.causes]
        if causes:
            _undo(graph, steps, node, causes, events)
            if node.optional:
                _undo_nothing(graph, steps, node, causes, saga_id)
    _pair(steps, saga_id)


def _undo(graph: Graph, steps: Steps, node: Node, causes: list[Seen], events: Sequence[Seen]) -> None:
    """Make every original in scope owed; what undoes it already is found under the same key."""
    for original in events:
        if original.type in node.original:
            cause = next((each for each in causes if reaches(each, original.branch, graph.failures)), None)
            if cause is not None:
                step = step_at(steps, node, original.branch, original.event_id)
                step.causes, step.ready = [cause, original], True


def _undo_nothing(graph: Graph, steps: Steps, node: Node, causes: list[Seen], saga_id: str) -> None:
    """Make the undoing of every step owed whose outcome is unknown: skipped, or ended by its `otherwise` (rule 16)."""
    for step in list(steps.values()):
        skipped = step.settled is not None and step.settled.kind == "skipped" and not step.results
        if node not in step.node.undoers or not (skipped or step.unknown):
            continue
        cause = next((each for each in causes if reaches(each, step.branch, graph.failures)), None)
        if cause is not None:
            undoing = step_at(steps, node, step.branch, _key(saga_id, step))
            undoing.causes, undoing.ready = [cause, *step.causes], True


def _key(saga_id: str, step: Step) -> str:
    """Return a step's idempotency key, as the journal has it where it says anything about the step."""
    noted = step.settled or step.failed
    return (noted.step if noted is not None else "") or effect_key(saga_id, step.node, step.branch, step.trigger)


def _pair(steps: Steps, saga_id: str) -> None:
    """Hang each compensation on the step that it undoes."""
    undoings = [step for step in steps.values() if step.node.kind == "compensation"]
    if not undoings:
        return
    made: dict[str, Step] = {}
    for step in steps.values():
        if step.node.kind != "compensation":
            for result in step.results:
                made[result.event_id] = step
            if step.settled is not None or step.given_up:
                made[_key(saga_id, step)] = step
    done = {each.trigger for each in undoings if each.results or each.settled is not None}
    for each in undoings:
        if each.open and each.trigger in done:
            # Each original is undone once (SEMANTICS rule 18); another handler that might have done it need not.
            del steps[each.node.service, each.node.name, each.branch, each.trigger]
            continue
        each.undoes = made.get(each.trigger)
        if each.undoes is not None:
            each.undoes.undoings.append(each)
