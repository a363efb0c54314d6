"""Is everything undone that has to be, and in reverse order? SEMANTICS 36 (a) to (d).

What a saga type's compensations leave out, and the order in which they run, lives here; how sagas end does not
(`completion`).
"""

from collections.abc import Iterator, Sequence

from choreo.checks.phrases import any_of, union
from choreo.checks.saga_analysis import SagaAnalysis
from choreo.choreography import NOTHING, Choreography, Node
from choreo.errors import Problem
from choreo.event import short


def check_compensations(analysis: SagaAnalysis) -> Iterator[Problem]:
    """Yield what is wrong with the compensations of one saga type."""
    yield from _uncovered(analysis)
    for step in analysis.flow.steps:
        for each in analysis.flow.undoing(step):
            yield from _chained(analysis, step, each)
            yield from _unknown(step, each)
        if step.guarded is not None:
            yield from _unnamed(analysis, step, step.guarded)
            yield from _overtaken(analysis, step, step.guarded)


def check_causes(graph: Choreography) -> Iterator[Problem]:
    """Yield compensations whose cause is nothing that is undone for."""
    compensations = [step for step in graph.nodes if step.kind == "compensation"]
    undoings = {name for step in compensations for name in step.handler.emits}
    for step in compensations:
        for name in sorted(step.causes - undoings - graph.failing - graph.missing):
            message = f"{step.name} is caused by {short(name)}, which is no failure and no compensation's event"
            fix = f"Make it a failure: class {short(name)}(Failure, …)."
            yield Problem("CH072", message, step.handler.place, fix)


def _uncovered(analysis: SagaAnalysis) -> Iterator[Problem]:
    """36 (a): a failure after which what was done stays done."""
    for original, each in analysis.coverage.left.items():
        # What a service undoes that is not here is not held against the others.
        failures = [failure for failure in each if failure in analysis.opened.coverage.left.get(original, ())]
        if not failures:
            continue
        compensations = analysis.coverage.undoers[original]
        causes = sorted({name for each in compensations for name in each.causes})
        message = (
            f"{short(original)} is not undone where {any_of(failures)} comes: {compensations[0].name} waits for "
            f"{any_of(causes)}"
        )
        fix = f"Add {union(failures)} to its causes, or what undoes the step behind it."
        yield Problem("CH100", message, compensations[0].handler.place, fix)


def _chained(analysis: SagaAnalysis, step: Node, compensation: Node) -> Iterator[Problem]:
    """36 (b): a step that may be cancelled leaves no trace, and an undoing waits for one."""
    ends = analysis.flow.completes | analysis.flow.fails
    for name in compensation.handler.emits:
        waiting = next(iter(analysis.flow.graph.takers(name)), None)
        if waiting is not None and name in analysis.coverage.unsure - ends:
            message = (
                f"where {step.name} is cancelled, {compensation.name} does not run, and {waiting.name} waits for "
                f"{short(name)} in vain"
            )
            fix = f"Let {compensation.name} take {short(compensation.handler.original[0])} | None: it runs then, too."
            yield Problem("CH101", message, compensation.handler.place, fix)


def _unknown(step: Node, compensation: Node) -> Iterator[Problem]:
    """36 (c): a step that touches the world, and may have done so though nothing tells of it."""
    handler = compensation.handler
    if step.handler.uses and not handler.original_optional and step.kind != "compensation":
        message = (
            f"{step.name} is given {' or '.join(step.handler.uses)}, and {compensation.name} does not undo it where "
            "nobody knows whether it happened"
        )
        fix = f"Let {compensation.name} take {short(handler.original[0])} | None, and undo ctx.undoes_key then."
        yield Problem("CH103", message, handler.place, fix)


def _unnamed(analysis: SagaAnalysis, otherwise: Node, guarded: Node) -> Iterator[Problem]:
    """36 (d): what a step's retries end with has to undo what the step may have done."""
    for compensation in analysis.flow.undoing(guarded):
        unnamed = analysis.flow.graph.failing - compensation.causes
        missing = [name for name in otherwise.handler.emits if name in unnamed]
        if missing and compensation.handler.original_optional:
            message = (
                f"{otherwise.name} ends {guarded.name} with {any_of(missing)}, which {compensation.name} does not "
                "name: what the step did before its retries were spent stays done"
            )
            fix = f"Add {union(missing)} to the causes of {compensation.name}."
            yield Problem("CH104", message, compensation.handler.place, fix)


def _overtaken(analysis: SagaAnalysis, otherwise: Node, guarded: Node) -> Iterator[Problem]:
    """36 (d): what a step's retries end with undoes that step first; everything else waits for that."""
    graph = analysis.flow.graph
    own = [each for each in analysis.flow.undoing(guarded) if each.handler.original_optional]
    for failure in sorted(graph.failing.intersection(otherwise.handler.emits)):
        voids = [each for each in own if failure in each.causes]
        names = {each.name for each in voids}
        for step in graph.takers(failure) if voids else ():
            if step.name not in names:
                instead = union(voids[0].handler.emits) or f"an event that {voids[0].name} returns"
                message = (
                    f"{step.name} takes {short(failure)}, with which {otherwise.name} ends a step whose outcome nobody "
                    f"knows, before {voids[0].name} has undone it"
                )
                yield Problem("CH120", message, step.handler.place, f"Let it take {instead} instead.")


def check_compensation_order(analysis: SagaAnalysis) -> Iterator[Problem]:
    """Yield compensations that do not wait for the undoing of what came after what they undo."""
    flow = analysis.flow
    originals = [name for step in flow.steps for name in sorted(step.handler.emits) if _undoers(analysis, step, name)]
    for step in flow.steps:
        for later in sorted(step.handler.emits):
            undoing = _undoers(analysis, step, later)
            for earlier in _nearest(analysis, later, originals) if undoing else ():
                for each in _undoers(analysis, flow.producers(earlier)[0], earlier):
                    yield from _hasty(analysis, earlier, each, later, undoing)


def _undoers(analysis: SagaAnalysis, step: Node, original: str) -> list[Node]:
    return [each for each in analysis.flow.undoing(step) if original in each.handler.original]


def _nearest(analysis: SagaAnalysis, later: str, originals: Sequence[str]) -> list[str]:
    """Return what can be undone and certainly came before something, but for what came before that in turn."""
    flow, found, behind = analysis.flow, list[str](), 0
    for name in reversed(originals):
        mark = flow.marks.of([name])
        if flow.before[later] & mark and not behind & mark and name not in found:
            found.append(name)
            behind |= flow.before[name]
    return [name for name in found if not behind & flow.marks.of([name])]


def _hasty(
    analysis: SagaAnalysis, earlier: str, compensation: Node, later: str, undoing: Sequence[Node]
) -> Iterator[Problem]:
    """Yield a compensation's causes that may come though what came later is not undone yet."""
    undone = NOTHING.union(*(each.handler.emits for each in undoing))
    hasty = [
        cause
        for cause in sorted(compensation.causes & analysis.flow.events)
        if cause not in undone and not analysis.flow.follows(cause, undone) and not analysis.in_saga.plain(later, cause)
    ]
    if hasty:
        # Of a fan-in that gathers this branch, too, this branch brings nothing else.
        apart = analysis.in_branch.barred(later) if analysis.places.branched(later) else NOTHING
        come = analysis.in_saga.reached(later, undone, apart | undone)
        causes = NOTHING.union(*(each.causes for each in undoing))
        hasty = [
            cause
            for cause in hasty
            if cause in come and (cause in causes or analysis.consequences.reach(causes, later, cause))
        ]
    if hasty:
        message = (
            f"where {any_of(hasty)} comes, {compensation.name} undoes {short(earlier)} without waiting for "
            f"{undoing[0].name} to undo {short(later)}, which came after it"
        )
        instead = union(sorted(undone)) or f"an event that {undoing[0].name} returns"
        yield Problem("CH102", message, compensation.handler.place, f"Let it take {instead} instead of {union(hasty)}.")
