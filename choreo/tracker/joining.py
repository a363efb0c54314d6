"""Which forward steps a saga's events are causes of, and whether all of them have come.

Steps for one event, joins within a branch and fan-ins over all branches are found here, by the rules that services go
by (SEMANTICS 6, 7 and 12); what came of them is not. `steps` asks once a saga. Pure.
"""

from collections.abc import Iterator, Sequence

from choreo.scope import fork
from choreo.tracker.graph import Graph, Node
from choreo.tracker.seen import Seen
from choreo.tracker.step import Steps, step_at

_Firsts = dict[tuple[int, str], tuple[int, Seen]]
"""By parameter and branch: the first event for it that is in this very branch, with its place among all."""


def due(graph: Graph, steps: Steps, events: Sequence[Seen]) -> None:
    """Add the forward steps that these events are causes of."""
    joins: dict[Node, list[Seen]] = {}
    for event in events:
        for node in graph.waiting.get(event.type, ()):
            if node.joins:
                joins.setdefault(node, []).append(event)
            else:
                step = step_at(steps, node, event.branch, event.event_id)
                step.causes, step.ready = [event], True
    for node, found in joins.items():
        if node.gathers is None:
            _within(steps, node, found)
        else:
            _over(steps, node, node.gathers, found)


def enclosing(branch: str) -> Iterator[str]:
    """Yield every branch that covers this one, from the root to itself."""
    yield ""
    at = branch.find("/", 1)
    while at >= 0:
        yield branch[:at]
        at = branch.find("/", at + 1)
    if branch:
        yield branch


def _within(steps: Steps, node: Node, found: list[Seen]) -> None:
    firsts = _firsts(node, found)
    branches = dict.fromkeys(each.branch for each in found)
    around = {each for branch in branches for each in enclosing(branch) if each != branch}
    for branch in branches:
        chosen = [first for place in range(len(node.waits_for)) if (first := _first(firsts, place, branch)) is not None]
        here = any(each.branch == branch for each in chosen)
        ready = len(chosen) == len(node.waits_for)
        # An outer event joins each inner branch, so it does not wait on its own once there is one.
        if here and (ready or branch not in around):
            step = step_at(steps, node, branch, "")
            step.causes, step.ready = chosen, ready


def _over(steps: Steps, node: Node, gathers: int, found: list[Seen]) -> None:
    firsts = _firsts(node, found)
    brought: dict[tuple[str, str, int], dict[int, Seen]] = {}
    for each in found:
        at = fork(each.branch) if each.type in node.waits_for[gathers] else None
        if at is not None:
            # The first of each branch counts.
            brought.setdefault((at.outer, at.key, at.of), {}).setdefault(at.path, each)
    others = [place for place in range(len(node.waits_for)) if place != gathers]
    for (outer, key, of), branches in brought.items():
        step = step_at(steps, node, outer, key)
        if step.ready:
            continue
        beside = [first for place in others if (first := _first(firsts, place, outer)) is not None]
        step.causes = [*(branches[path] for path in sorted(branches)), *beside]
        step.gathered = (len(branches), of)
        step.ready = len(branches) == of and len(beside) == len(others)


def _firsts(node: Node, found: list[Seen]) -> _Firsts:
    firsts: _Firsts = {}
    for at, each in enumerate(found):
        for place, types in enumerate(node.waits_for):
            if each.type in types:
                firsts.setdefault((place, each.branch), (at, each))
    return firsts


def _first(firsts: _Firsts, place: int, branch: str) -> Seen | None:
    """Return the first event for a parameter that counts in a branch."""
    there = [firsts[place, each] for each in enclosing(branch) if (place, each) in firsts]
    return min(there, key=lambda first: first[0])[1] if there else None
