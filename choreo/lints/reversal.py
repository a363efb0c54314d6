"""Does undoing go backwards? SEMANTICS 36 (a).

What was done first is undone last: the order of a saga type's compensations lives here; whether each of them runs at
all does not (`undoing`).
"""

from collections.abc import Iterator, Sequence

from choreo.choreography import Step
from choreo.errors import Problem
from choreo.event import short
from choreo.lints.facts import Facts
from choreo.lints.graph import NONE
from choreo.lints.telling import any_of, union


def reversal(facts: Facts) -> Iterator[Problem]:
    """Yield compensations that do not wait for the undoing of what came after what they undo."""
    flow = facts.flow
    originals = [name for step in flow.steps for name in sorted(step.handler.emits) if _undoers(facts, step, name)]
    for step in flow.steps:
        for later in sorted(step.handler.emits):
            undoing = _undoers(facts, step, later)
            for earlier in _nearest(facts, later, originals) if undoing else ():
                for each in _undoers(facts, flow.producers(earlier)[0], earlier):
                    yield from _hasty(facts, earlier, each, later, undoing)


def _undoers(facts: Facts, step: Step, original: str) -> list[Step]:
    return [each for each in facts.flow.undoing(step) if original in each.handler.original]


def _nearest(facts: Facts, later: str, originals: Sequence[str]) -> list[str]:
    """Return what can be undone and certainly came before something, but for what came before that in turn."""
    flow, found, behind = facts.flow, list[str](), 0
    for name in reversed(originals):
        mark = flow.marks.of([name])
        if flow.before[later] & mark and not behind & mark and name not in found:
            found.append(name)
            behind |= flow.before[name]
    return [name for name in found if not behind & flow.marks.of([name])]


def _hasty(facts: Facts, earlier: str, compensation: Step, later: str, undoing: Sequence[Step]) -> Iterator[Problem]:
    """Yield a compensation's causes that may come though what came later is not undone yet."""
    undone = NONE.union(*(each.handler.emits for each in undoing))
    hasty = [
        cause
        for cause in sorted(set(compensation.handler.causes) & facts.flow.events)
        if cause not in undone and not facts.flow.follows(cause, undone) and not facts.in_saga.plain(later, cause)
    ]
    if hasty:
        # Of a fan-in that gathers this branch, too, this branch brings nothing else.
        apart = facts.in_branch.barred(later) if facts.places.branched(later) else NONE
        come = facts.in_saga.reached(later, undone, apart | undone)
        causes = NONE.union(*(each.handler.causes for each in undoing))
        hasty = [
            cause
            for cause in hasty
            if cause in come and (cause in causes or facts.consequences.reach(causes, later, cause))
        ]
    if hasty:
        message = (
            f"where {any_of(hasty)} comes, {compensation.name} undoes {short(earlier)} without waiting for "
            f"{undoing[0].name} to undo {short(later)}, which came after it"
        )
        instead = union(sorted(undone)) or f"an event that {undoing[0].name} returns"
        yield Problem("CH102", message, compensation.handler.place, f"Let it take {instead} instead of {union(hasty)}.")
