"""What a saga waits for, in words.

From whom something must come for a saga to move, since when and until when is said here, and nowhere judged: `verdict`
knows. `projection` asks for every saga that is not at rest. Pure.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from choreo.saga import SagaState
from choreo.tracker.graph import Graph, Node
from choreo.tracker.seen import moment
from choreo.tracker.step import Step
from choreo.tracker.timing import Deadline
from choreo.tracker.verdict import Verdict

WAITS_MAX = 20
"""Most items of `waiting_for`; a saga that waits for very many things is not told to the last one."""


class _Wait(NamedTuple):
    """One thing that is waited for, in one branch; several of one kind are told together."""

    what: str
    more: str
    since_us: int
    branch: str


def waits(graph: Graph, verdict: Verdict) -> list[str]:
    """Say what must come for the saga to move, from whom, since when; what a person must do first, then the oldest."""
    aborted = verdict.summary.state is SagaState.COMPENSATING
    lines = [(0, f"{each}, which the tracker has not read") for each in verdict.missing]
    lines += _merged([*_open(verdict), *(() if aborted else _pending(graph, verdict))])
    kind = verdict.kind
    parked = [(step.held.at_us, step) for step in verdict.steps.values() if step.parked and step.held is not None]
    people = _merged(
        _Wait(f"a person to retry or resolve {_name(step)}", ", parked", since_us, step.branch)
        for since_us, step in parked
    )
    if not lines and not people and kind is not None:
        ends = kind.fails if aborted else kind.completes
        lines.append((0, f"{_any(ends)} from {kind.owner}{_since(verdict.summary.updated_us)}"))
    lines += _timed(verdict)
    if not aborted and not verdict.ended:
        lines += _later(verdict)
    return [text for _, text in [*sorted(people), *sorted(lines)]][:WAITS_MAX]


def _merged(found: Iterable[_Wait]) -> list[tuple[int, str]]:
    merged: dict[tuple[str, str], list[_Wait]] = {}
    for each in found:
        merged.setdefault((each.what, each.more), []).append(each)
    lines = []
    for (what, more), some in merged.items():
        since_us = min(each.since_us for each in some)
        lines.append((since_us, f"{what}{_often([each.branch for each in some])}{more}{_since(since_us)}"))
    return lines


def _open(verdict: Verdict) -> Iterator[_Wait]:
    """Yield what steps are about to bring that all of their causes have come to."""
    for step in verdict.steps.values():
        if step.moves:
            node = step.node
            wanted = _any(node.emits) or "an end"
            yield _Wait(f"{wanted} from {node.service} ({node.name})", "", step.since_us, step.branch)


def _pending(graph: Graph, verdict: Verdict) -> Iterator[_Wait]:
    """Yield what joins and fan-ins lack that no step owes already; of branches, how many have brought nothing."""
    brought = {name for step in verdict.steps.values() if step.open for name in step.node.emits}
    for step in verdict.steps.values():
        if step.ready or step.results or step.settled is not None:
            continue
        come = {each.type for each in step.causes}
        for place, types in enumerate(step.node.waits_for):
            who = " or ".join(sorted({graph.origin(each) for each in types}))
            what = f"{_any(types)} from {who}"
            if place == step.node.gathers:
                brought_by, of = step.gathered
                if brought_by < of:
                    more = f", missing from {of - brought_by} of {of} branches"
                    yield _Wait(what, more, step.since_us, step.branch)
            elif not types & come and not types & brought:
                yield _Wait(what, "", step.since_us, step.branch)


def _timed(verdict: Verdict) -> Iterator[tuple[int, str]]:
    """Yield until when events are awaited; a handler with several deadlines is told with the first of them."""
    found: dict[Node, list[Deadline]] = {}
    for each in verdict.deadlines:
        if each.due_us is not None:
            found.setdefault(each.node, []).append(each)
    for node, some in found.items():
        due_us = min(each.due_us or 0 for each in some)
        often = _often([each.trigger.branch for each in some])
        yield due_us, f"{_any(node.awaits)}{often}, until {_time(due_us)}, when {node.service}.{node.name} fires"


def _later(verdict: Verdict) -> Iterator[tuple[int, str]]:
    """Yield what steps have set down for later; nobody notes that it was called off, so this may not come."""
    for step in verdict.steps.values():
        note = step.settled
        if note is not None and note.kind == "completed" and note.reason and not step.results:
            yield note.at_us, f"{note.reason} from {_name(step)}, if nothing calls it off"


def _name(step: Step) -> str:
    return f"{step.node.service}.{step.node.name}"


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
