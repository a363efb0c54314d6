"""Does everything come that is waited for?

Joins and fan-ins that never fill, waits that nothing ends and deadlines that nobody can meet live here; whether a saga
has an end at all does not (`ending`), nor whether a handler's events are emitted by anybody (`reaching`).
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from choreo.choreography import Step
from choreo.errors import Problem
from choreo.event import short
from choreo.lints.exclusion import Exclusion
from choreo.lints.facts import Facts
from choreo.lints.flow import Flow
from choreo.lints.graph import Graph
from choreo.lints.standstill import Standstill
from choreo.lints.telling import any_of, union


def waiting(facts: Facts) -> Iterator[Problem]:
    """Yield what is waited for in vain in one saga type."""
    flow = facts.flow
    completing, failing = Standstill(facts, flow.completes), Standstill(facts, flow.fails)
    for step in flow.steps:
        if step.handler.kind == "deadline":
            yield from _decided(facts, step)
        elif step.handler.kind == "forward":
            yield from _unfillable(facts, step)
        for name in sorted(flow.events & frozenset(step.handler.unless)):
            yield from _skipped(failing if name in flow.failures else completing, step, name)
    if flow.completable:
        yield from _endless(completing)


def gathering(graph: Graph) -> Iterator[Problem]:
    """Yield fan-ins where nobody opens branches."""
    steps = graph.choreography.steps
    if graph.missing or any(step.handler.fan_out for step in steps):
        return
    for step in steps:
        if step.handler.fan_in:
            message = f"{step.name} gathers branches, and no handler returns a list"
            yield Problem("CH062", message, step.handler.place, "Return list[…].")


def _unfillable(facts: Facts, step: Step) -> Iterator[Problem]:
    """Yield a join whose events never meet."""
    flow, gathers = facts.flow, step.handler.gathers
    groups = [[name for name in types if name in flow.events] for types in flow.waits_for(step)]
    if gathers is not None and not facts.places.gathering(step):
        if any(each.handler.fan_out for each in flow.steps) and not flow.granted:
            message = f"{step.name} gathers {any_of(groups[gathers])}, which comes in no branch"
            yield Problem(
                "CH114", message, step.handler.place, "Take the event itself, or gather what comes in branches."
            )
        return
    for one, other in combinations([types for place, types in enumerate(groups) if place != gathers], 2):
        if all(facts.in_branch.of(each, beside) for each in one for beside in other):
            message = f"{step.name} waits for {any_of(one)} and for {any_of(other)}, and no saga has both"
            fix = "Take one of the two, or a union of them: any one of its types is enough."
            yield Problem("CH114", message, step.handler.place, fix)
            return
    stand = all(any(facts.places.of(name) for name in types) for types in groups)
    if stand and not facts.places.running(step):
        message = (
            f"{step.name} waits for {' and '.join(any_of(types) for types in groups)}, which never stand in one branch"
        )
        fix = "Gather the branches first: a parameter list[…] takes one event from each."
        yield Problem("CH114", message, step.handler.place, fix)


def _skipped(standstill: Standstill, step: Step, first: str) -> Iterator[Problem]:
    """36 (b): a step that unless keeps from running, where a saga cannot end without it."""
    flow = standstill.facts.flow
    if step.name not in standstill.leading:
        return
    wanted = standstill.ends if first in flow.failures else flow.completes | flow.fails | flow.failures
    triggers = [next(name for name in types if name in flow.events) for types in flow.waits_for(step)]
    rests = standstill.facts.consequences.rests(wanted, first, *triggers)
    waits = (wait for come in rests for wait in standstill.waits(come))
    found = (wait for wait in waits if wait.skipped is not None and wait.skipped.name == step.name)
    wait = next(iter(sorted(found, key=lambda wait: not wait.types)), None)
    if wait is not None and wait.types:
        message = (
            f"{step.name} does not run where {short(first)} came first, and {wait.step.name} waits for "
            f"{any_of(wait.types)} in vain"
        )
        fix = f"Let {wait.step.name} take {union([*wait.types, first])}, or leave unless= out."
        yield Problem("CH109", message, step.handler.place, fix)
    elif wait is not None:
        message = f"{step.name} does not run where {short(first)} came first, and saga {flow.saga_type} never ends then"
        yield Problem(
            "CH109", message, step.handler.place, f"Let another handler take {short(first)}, or leave unless= out."
        )


def _endless(standstill: Standstill) -> Iterator[Problem]:
    """Yield waits that may last for ever: neither an end nor a failure comes, and no deadline."""
    flow = standstill.facts.flow
    rests = standstill.facts.consequences.rests(flow.completes | flow.fails | flow.failures, flow.start)
    waits = (wait for come in rests for wait in standstill.waits(come))
    found = {wait.step.name: wait for wait in waits if wait.types and wait.skipped is None}
    for wait in found.values():
        message = f"{wait.step.name} waits for {any_of(wait.types)}, {wait.why}: then saga {flow.saga_type} never ends"
        fix = f"Let {flow.owner} set a deadline that awaits it and ends in a failure, or handle what comes instead."
        yield Problem("CH115", message, wait.step.handler.place, fix)


def _decided(facts: Facts, step: Step) -> Iterator[Problem]:
    """Yield a deadline that is met or missed before it is set."""
    flow = facts.flow
    awaits = [name for name in step.handler.awaits if name in flow.events]
    triggers = [name for types in flow.waits_for(step) for name in types if name in flow.events]
    if awaits and triggers and (found := _decision(facts, step, awaits, triggers)) is not None:
        what, fix = found
        yield Problem("CH116", f"{step.name} {what}", step.handler.place, fix)


def _decision(facts: Facts, step: Step, awaits: Sequence[str], triggers: Sequence[str]) -> tuple[str, str] | None:
    """Return why a deadline always fires, or never, and what to do about it."""
    flow, own = facts.flow, _alone(facts.flow, step)
    awaited, counted = f"awaits {any_of(awaits)}, which", any_of(triggers)
    if all(name in own or flow.follows(name, own) for name in awaits):
        return f"{awaited} comes only after it has fired", "Await what comes without it."
    if all(_apart(facts, name).of(name, trigger) for name in awaits for trigger in triggers):
        return f"{awaited} never comes where {counted} does", "Await what may follow from the event it counts from."
    if not step.handler.after_abort and flow.failures.issuperset(triggers):
        return f"counts from {counted}, and no deadline is set once a saga has failed", "Say after_abort=True."
    if all(flow.follows(trigger, awaits) for trigger in triggers):
        return f"{awaited} has come whenever {counted} comes: it never fires", "Count from what comes before that."
    slower = _slower(facts, step, awaits, triggers)
    if slower is not None:
        return f"{awaited} comes only once {slower.name} has fired, no sooner than this one", "Give it more time."
    return None


def _apart(facts: Facts, awaited: str) -> Exclusion:
    """Return what tells whether an event is awaited in vain: a failure counts in the whole saga."""
    return facts.in_saga if awaited in facts.flow.failures else facts.in_branch


def _slower(facts: Facts, step: Step, awaits: Sequence[str], triggers: Sequence[str]) -> Step | None:
    """Return a deadline that must have fired before what is awaited comes, and takes at least as long."""
    flow, within_s = facts.flow, step.handler.within_s
    for other in facts.deadlines if within_s is not None else ():
        if other.name == step.name or (other.handler.within_s or 0) < (within_s or 0):
            continue
        counted = [name for types in flow.waits_for(other) for name in types if name in flow.events]
        fired = _alone(flow, other)
        behind = all(name in triggers or flow.follows(name, triggers) for name in counted)
        if behind and all(name in fired or flow.follows(name, fired) for name in awaits):
            return other
    return None


def _alone(flow: Flow, step: Step) -> list[str]:
    """Return what nobody but one step brings."""
    return [name for name in step.handler.emits if len(flow.producers(name)) == 1 and name not in flow.outside]
