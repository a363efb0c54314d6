"""Does a saga end, and once? SEMANTICS 36 (e) to (h).

What is wrong with how sagas complete and fail lives here; what they leave undone does not (`compensation_checks`), nor
what they may wait for on their way (`waits`).
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from choreo.checks.blocked_steps import BlockedStep, BlockedSteps
from choreo.checks.phrases import any_of, union
from choreo.checks.saga_analysis import SagaAnalysis
from choreo.checks.saga_flow import SagaFlow
from choreo.choreography import Node
from choreo.errors import Problem
from choreo.event import short


def check_completion(analysis: SagaAnalysis) -> Iterator[Problem]:
    """Yield what is wrong with the ends of one saga type."""
    yield from _late_failures(analysis)
    yield from _unfailing(analysis)
    yield from _branched(analysis)
    yield from _out_of_sight(analysis)
    yield from _incomplete(analysis.opened.flow)
    yield from _unending(analysis)


def _incomplete(flow: SagaFlow) -> Iterator[Problem]:
    """Yield a saga type that no way leads to the end of, services that are missing granted."""
    if flow.completable:
        return
    handlers = flow.graph.handlers(flow.saga.owner)
    known = next((each for each in handlers if not flow.completes.isdisjoint(each.handler.emits)), None)
    if known is None:
        ends = any_of(sorted(flow.completes))
        message = f"saga {flow.saga.name} never completes: no handler of {flow.saga.owner} emits {ends}"
        yield Problem("CH073", message, flow.place, "Write the handler that does.")
    else:
        message = f"saga {flow.saga.name} never completes: without a failure nothing leads to {known.name}"
        fix = f"Let {known.name} wait for what comes when all goes well, and nothing else."
        yield Problem("CH073", message, known.handler.place, fix)


def _unending(analysis: SagaAnalysis) -> Iterator[Problem]:
    """Yield failures that a saga does not end by, though all is undone."""
    opened, flow = analysis.opened, analysis.opened.flow
    if not flow.fails:
        return
    if flow.fails.isdisjoint(flow.events):
        message = f"saga {flow.saga.name} never fails: nothing leads to {any_of(sorted(flow.fails))}"
        fix = f"Let a handler of {flow.saga.owner} emit it once what was done is undone, or leave fails= out."
        yield Problem("CH118", message, flow.place, fix)
        return
    uncovered = {failure for failures in analysis.coverage.left.values() for failure in failures}
    standstill = BlockedSteps(opened, flow.fails)
    found: dict[str, tuple[BlockedStep | None, list[str]]] = {}
    for failure, come in opened.coverage.unended.items():
        # One that follows completion, or leaves something undone, is reported as that.
        if failure in flow.granted | uncovered or flow.follows(failure, flow.completes):
            continue
        # A step that has all it needs and says nothing tells more than one that waits.
        wait = min(standstill.waits(come), key=lambda wait: bool(wait.types), default=None)
        if wait is not None and (wait.skipped is not None or not analysis.coverage.unsure.isdisjoint(wait.types)):
            # It is reported as what it is.
            continue
        if failure in flow.graph.taken:
            found.setdefault(wait.step.name if wait is not None else "", (wait, []))[1].append(failure)
        else:
            yield _untaken(flow, failure)
    for wait, failures in found.values():
        yield _unended(flow, failures, wait)


def _untaken(flow: SagaFlow, failure: str) -> Problem:
    by = next(iter(flow.producers(failure)), None)
    what = f"{short(failure)}, which {by.name if by is not None else 'somebody outside'} may emit, is taken by nobody"
    message = f"{what}: then saga {flow.saga.name} neither completes nor fails"
    fix = f"Let {_failing(flow).name} take it, too."
    return Problem("CH112", message, by.handler.place if by is not None else flow.place, fix)


def _unended(flow: SagaFlow, failures: Sequence[str], wait: BlockedStep | None) -> Problem:
    step = _failing(flow)
    what = f"{any_of(failures)} does not always lead to {any_of(sorted(flow.fails))}"
    fix = f"Let {step.name} take {union(failures)}, too, or what comes once all is undone for it."
    if wait is not None and wait.types:
        each = " from each branch" if wait.step.handler.fan_in else ""
        what += f": {wait.step.name} waits for {any_of(wait.types)}{each}"
    elif wait is not None:
        what, fix = f"{what}: {wait.step.name} {wait.why}", f"Let {wait.step.name} return it at once."
    return Problem("CH112", what, (step if wait is None else wait.step).handler.place, fix)


def _failing(flow: SagaFlow) -> Node:
    return next(step for name in sorted(flow.fails) for step in flow.producers(name))


def _late_failures(analysis: SagaAnalysis) -> Iterator[Problem]:
    """36 (e): a failure that may follow `completes`; what the owner itself emits excludes that (rule 19)."""
    flow = analysis.flow
    # Gathering all branches says of each of them what it says of one; gathering one list says nothing of another.
    exclusion = (
        analysis.in_saga
        if any(_several(analysis, step) for step in flow.steps if step.handler.fan_in)
        else analysis.in_branch
    )
    for failure in sorted(flow.failures):
        producers = list(flow.producers(failure))
        if failure not in flow.outside and all(each.service == flow.saga.owner for each in producers):
            continue
        late = [end for end in sorted(flow.completes & flow.events) if not exclusion.of(failure, end)]
        if late:
            place = producers[0].handler.place if producers else ""
            by = producers[0].name if producers else "somebody outside"
            message = f"{by} may emit {short(failure)} when {short(late[0])} has completed the saga"
            fix = (
                f"Let {flow.saga.owner} wait for the answer of that step before it completes the saga; or make the "
                f"answer an event, and let {flow.saga.owner} turn it into the failure."
            )
            yield Problem("CH105", message, place, fix)


def _several(analysis: SagaAnalysis, step: Node) -> bool:
    """Return whether a step gathers the branches of several lists that one saga may have."""
    by_name = {each.name: each for each in analysis.flow.steps}
    openers = [by_name[name] for name in sorted({place[-1] for place in analysis.places.gathering(step)})]
    triggers = [[name for types in analysis.flow.groups(each) for name in types] for each in openers]
    return any(
        not any(analysis.in_saga.of(each, beside) for each in one for beside in other)
        for one, other in combinations(triggers, 2)
    )


def _unfailing(analysis: SagaAnalysis) -> Iterator[Problem]:
    """36 (f): failures without a failing end."""
    flow = analysis.flow
    if flow.failures and not flow.fails:
        message = f"saga {flow.saga.name} may meet {short(min(flow.failures))}, and nothing says that it has failed"
        fix = f"Give it fails=…, an event that {flow.saga.owner} emits once what was done is undone."
        yield Problem("CH106", message, flow.place, fix)


def _branched(analysis: SagaAnalysis) -> Iterator[Problem]:
    """36 (g): a saga is completed once, and not by one of its branches."""
    flow = analysis.flow
    for end in sorted(flow.completes & flow.events):
        if analysis.places.branched(end):
            [by, *_] = flow.producers(end)
            message = f"{by.name} emits {short(end)}, which completes the saga, within a branch"
            fix = "Gather the branches first: a parameter list[…] takes one event from each."
            yield Problem("CH107", message, by.handler.place, fix)


def _out_of_sight(analysis: SagaAnalysis) -> Iterator[Problem]:
    """36 (h): what is awaited comes in inner branches only, where it does not count; a failure counts everywhere."""
    for step in analysis.flow.steps:
        handler, places = step.handler, analysis.places
        if handler.kind != "deadline":
            continue
        outer = max(
            (len(place) for types in handler.waits_for for name in types for place in places.of(name)), default=0
        )
        come = [name for name in handler.awaits if places.of(name)]
        if come and all(min(map(len, places.of(name))) > outer and name not in analysis.flow.failures for name in come):
            message = (
                f"{step.name} awaits {short(come[0])}, which comes in branches only: it does not count outside them"
            )
            fix = "Await what gathers the branches, or count from what opens them."
            yield Problem("CH108", message, handler.place, fix)
