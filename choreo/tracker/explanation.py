"""What a saga waits for, in words.

From whom something must come for a saga to move, since when and until when is said here; the state behind it is worked
out in `verdict`. `projection` asks for every saga that is not at rest. Pure.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from choreo.choreography import Choreography, Node
from choreo.saga import SagaState
from choreo.tracker.rows import moment
from choreo.tracker.saga_steps import SetDeadline
from choreo.tracker.verdict import Verdict

WAITS_MAX = 20
"""Most lines of `waiting_for`."""


class _Awaited(NamedTuple):
    """One thing that a saga waits for, in one branch; those that differ by branch alone become one line."""

    what: str
    since_us: int
    branch: str
    more: str = ""


def waiting_for(graph: Choreography, verdict: Verdict) -> list[str]:
    """Return what must come for the saga to move, from whom, since when: first what people must do, then by age."""
    aborted = verdict.state is SagaState.COMPENSATING
    lines = [(0, f"{each}, which the tracker has not read") for each in verdict.missing]
    lines += _merged([*_open(verdict), *(() if aborted else _pending(graph, verdict))])
    kind = verdict.kind
    people = _merged(
        _Awaited(f"a person to retry or resolve {step.node.name}", step.held.at_us, step.branch, ", parked")
        for step in verdict.steps.values()
        if step.parked and step.held is not None
    )
    if not lines and not people and kind is not None:
        ends = kind.fails if aborted else kind.completes
        lines.append((0, f"{_any(ends)} from {kind.owner}{_since(verdict.updated_us)}"))
    lines += _timed(verdict)
    if not aborted and not verdict.ended:
        lines += _later(verdict)
    return [text for _, text in [*sorted(people), *sorted(lines)]][:WAITS_MAX]


def _merged(awaited: Iterable[_Awaited]) -> list[tuple[int, str]]:
    merged: dict[tuple[str, str], list[_Awaited]] = {}
    for each in awaited:
        merged.setdefault((each.what, each.more), []).append(each)
    lines = []
    for (what, more), some in merged.items():
        since_us = min(each.since_us for each in some)
        lines.append((since_us, f"{what}{_often([each.branch for each in some])}{more}{_since(since_us)}"))
    return lines


def _open(verdict: Verdict) -> Iterator[_Awaited]:
    """Yield the results of steps whose causes have all come."""
    for step in verdict.steps.values():
        if step.moves:
            node = step.node
            wanted = _any(node.emits) or "an end"
            yield _Awaited(f"{wanted} from {node.service} ({node.handler.name})", step.since_us, step.branch)


def _pending(graph: Choreography, verdict: Verdict) -> Iterator[_Awaited]:
    """Yield what joins and fan-ins lack and no open step may emit; of a fan-in, from how many branches."""
    coming = {name for step in verdict.steps.values() if step.open for name in step.node.emits}
    for step in verdict.steps.values():
        if step.ready or step.results or step.settled is not None:
            continue
        come = {each.type for each in step.causes}
        for place, types in enumerate(step.node.waits_for):
            who = " or ".join(sorted({graph.origin(each) for each in types}))
            what = f"{_any(types)} from {who}"
            if place == step.node.gathers:
                arrived, of = step.gathered
                if arrived < of:
                    missing = f", missing from {of - arrived} of {of} branches"
                    yield _Awaited(what, step.since_us, step.branch, missing)
            elif not types & come and not types & coming:
                yield _Awaited(what, step.since_us, step.branch)


def _timed(verdict: Verdict) -> Iterator[tuple[int, str]]:
    """Yield until when events are awaited: one line a handler, with the earliest of its deadlines."""
    by_node: dict[Node, list[tuple[int, SetDeadline]]] = {}
    for each in verdict.deadlines:
        if each.due_us is not None:
            by_node.setdefault(each.node, []).append((each.due_us, each))
    for node, deadlines in by_node.items():
        due_us = min(due_us for due_us, _ in deadlines)
        often = _often([each.trigger.branch for _, each in deadlines])
        yield due_us, f"{_any(node.awaits)}{often}, until {_time(due_us)}, when {node.name} fires"


def _later(verdict: Verdict) -> Iterator[tuple[int, str]]:
    """Yield delayed events; that one was called off is noted nowhere, so it may never come."""
    for step in verdict.steps.values():
        note = step.settled
        if note is not None and note.kind == "completed" and note.reason and not step.results:
            yield note.at_us, f"{note.reason} from {step.node.name}, if nothing calls it off"


def _any(types: frozenset[str]) -> str:
    return " | ".join(sorted(types))


def _often(branches: list[str]) -> str:
    if len(branches) == 1:
        return ""
    return f" in {len(branches)} branches" if len(set(branches)) == len(branches) else f", {len(branches)} times"


def _since(at_us: int) -> str:
    return f", since {_time(at_us)}" if at_us else ""


def _time(at_us: int) -> str:
    return moment(at_us).isoformat(timespec="seconds").replace("+00:00", "Z")
