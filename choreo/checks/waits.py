"""Does everything come that is waited for?

Joins and fan-ins that never fill, waits that nothing ends and deadlines that nobody can meet live here; whether a saga
has an end at all does not (`completion`), nor whether a handler's events are emitted by anybody (`reachability`).
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from choreo.checks.blocked_steps import BlockedSteps
from choreo.checks.exclusion import Exclusion
from choreo.checks.phrases import any_of, union
from choreo.checks.saga_analysis import SagaAnalysis
from choreo.checks.saga_flow import SagaFlow
from choreo.choreography import Choreography, Node
from choreo.errors import Problem
from choreo.event import short


def check_waits(analysis: SagaAnalysis) -> Iterator[Problem]:
    """Yield what is waited for in vain in one saga type."""
    flow = analysis.flow
    completing, failing = BlockedSteps(analysis, flow.completes), BlockedSteps(analysis, flow.fails)
    for step in flow.steps:
        if step.kind == "deadline":
            yield from _decided(analysis, step)
        elif step.kind == "forward":
            yield from _unfillable(analysis, step)
        for name in sorted(flow.events & frozenset(step.handler.unless)):
            yield from _skipped(failing if name in flow.failures else completing, step, name)
    if flow.completable:
        yield from _endless(completing)


def check_gathering(graph: Choreography) -> Iterator[Problem]:
    """Yield fan-ins where nobody opens branches."""
    steps = graph.nodes
    if graph.missing or any(step.handler.fan_out for step in steps):
        return
    for step in steps:
        if step.handler.fan_in:
            message = f"{step.name} gathers branches, and no handler returns a list"
            yield Problem("CH062", message, step.handler.place, "Return list[…].")


def _unfillable(analysis: SagaAnalysis, step: Node) -> Iterator[Problem]:
    """Yield a join whose events never meet."""
    flow, gathers = analysis.flow, step.handler.gathers
    groups = flow.groups(step)
    if gathers is not None and not analysis.places.gathering(step):
        if any(each.handler.fan_out for each in flow.steps) and not flow.granted:
            message = f"{step.name} gathers {any_of(groups[gathers])}, which comes in no branch"
            yield Problem(
                "CH114", message, step.handler.place, "Take the event itself, or gather what comes in branches."
            )
        return
    for one, other in combinations([types for place, types in enumerate(groups) if place != gathers], 2):
        if all(analysis.in_branch.of(each, beside) for each in one for beside in other):
            message = f"{step.name} waits for {any_of(one)} and for {any_of(other)}, and no saga has both"
            fix = "Take one of the two, or a union of them: any one of its types is enough."
            yield Problem("CH114", message, step.handler.place, fix)
            return
    stand = all(any(analysis.places.of(name) for name in types) for types in groups)
    if stand and not analysis.places.running(step):
        message = (
            f"{step.name} waits for {' and '.join(any_of(types) for types in groups)}, which never stand in one branch"
        )
        fix = "Gather the branches first: a parameter list[…] takes one event from each."
        yield Problem("CH114", message, step.handler.place, fix)


def _skipped(standstill: BlockedSteps, step: Node, first: str) -> Iterator[Problem]:
    """36 (b): a step that unless keeps from running, where a saga cannot end without it."""
    flow = standstill.analysis.flow
    if step.name not in standstill.leading:
        return
    wanted = standstill.ends if first in flow.failures else flow.completes | flow.fails | flow.failures
    triggers = [types[0] for types in flow.groups(step)]
    rests = standstill.analysis.consequences.rests(wanted, first, *triggers)
    waits = (wait for come in rests for wait in standstill.waits(come))
    found = (wait for wait in waits if wait.skipped is not None and wait.skipped.name == step.name)
    wait = min(found, key=lambda wait: not wait.types, default=None)
    if wait is not None and wait.types:
        message = (
            f"{step.name} does not run where {short(first)} came first, and {wait.step.name} waits for "
            f"{any_of(wait.types)} in vain"
        )
        fix = f"Let {wait.step.name} take {union([*wait.types, first])}, or leave unless= out."
        yield Problem("CH109", message, step.handler.place, fix)
    elif wait is not None:
        message = f"{step.name} does not run where {short(first)} came first, and saga {flow.saga.name} never ends then"
        yield Problem(
            "CH109", message, step.handler.place, f"Let another handler take {short(first)}, or leave unless= out."
        )


def _endless(standstill: BlockedSteps) -> Iterator[Problem]:
    """Yield waits that may last for ever: neither an end nor a failure comes, and no deadline."""
    flow = standstill.analysis.flow
    rests = standstill.analysis.consequences.rests(flow.completes | flow.fails | flow.failures, flow.saga.starts)
    waits = (wait for come in rests for wait in standstill.waits(come))
    found = {wait.step.name: wait for wait in waits if wait.types and wait.skipped is None}
    for wait in found.values():
        message = f"{wait.step.name} waits for {any_of(wait.types)}, {wait.why}: then saga {flow.saga.name} never ends"
        fix = (
            f"Let {flow.saga.owner} set a deadline that awaits it and ends in a failure, or handle what comes instead."
        )
        yield Problem("CH115", message, wait.step.handler.place, fix)


def _decided(analysis: SagaAnalysis, step: Node) -> Iterator[Problem]:
    """Yield a deadline that is met or missed before it is set."""
    flow = analysis.flow
    awaits = [name for name in step.handler.awaits if name in flow.events]
    triggers = [name for types in flow.groups(step) for name in types]
    if awaits and triggers and (found := _decision(analysis, step, awaits, triggers)) is not None:
        what, fix = found
        yield Problem("CH116", f"{step.name} {what}", step.handler.place, fix)


def _decision(
    analysis: SagaAnalysis, step: Node, awaits: Sequence[str], triggers: Sequence[str]
) -> tuple[str, str] | None:
    """Return why a deadline always fires, or never, and what to do about it."""
    flow, own = analysis.flow, _alone(analysis.flow, step)
    awaited, counted = f"awaits {any_of(awaits)}, which", any_of(triggers)
    if all(name in own or flow.follows(name, own) for name in awaits):
        return f"{awaited} comes only after it has fired", "Await what comes without it."
    if all(_apart(analysis, name).of(name, trigger) for name in awaits for trigger in triggers):
        return f"{awaited} never comes where {counted} does", "Await what may follow from the event it counts from."
    if not step.handler.after_abort and flow.failures.issuperset(triggers):
        return f"counts from {counted}, and no deadline is set once a saga has failed", "Say after_abort=True."
    if all(flow.follows(trigger, awaits) for trigger in triggers):
        return f"{awaited} has come whenever {counted} comes: it never fires", "Count from what comes before that."
    slower = _slower(analysis, step, awaits, triggers)
    if slower is not None:
        return f"{awaited} comes only once {slower.name} has fired, no sooner than this one", "Give it more time."
    return None


def _apart(analysis: SagaAnalysis, awaited: str) -> Exclusion:
    """Return what tells whether an event is awaited in vain: a failure counts in the whole saga."""
    return analysis.in_saga if awaited in analysis.flow.failures else analysis.in_branch


def _slower(analysis: SagaAnalysis, step: Node, awaits: Sequence[str], triggers: Sequence[str]) -> Node | None:
    """Return a deadline that must have fired before what is awaited comes, and takes at least as long."""
    flow, within_s = analysis.flow, step.handler.within_s
    for other in flow.steps if within_s is not None else ():
        if other.kind != "deadline" or other.name == step.name or (other.handler.within_s or 0) < (within_s or 0):
            continue
        counted = [name for types in flow.groups(other) for name in types]
        fired = _alone(flow, other)
        behind = all(name in triggers or flow.follows(name, triggers) for name in counted)
        if behind and all(name in fired or flow.follows(name, fired) for name in awaits):
            return other
    return None


def _alone(flow: SagaFlow, step: Node) -> list[str]:
    """Return what nobody but one step brings."""
    return [name for name in step.handler.emits if len(flow.producers(name)) == 1 and name not in flow.outside]
