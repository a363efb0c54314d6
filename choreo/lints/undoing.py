"""Is all undone that has to be? SEMANTICS 36 (a) to (d).

What a saga type's compensations leave out lives here; the order in which they run does not (`reversal`), nor how sagas
end (`ending`).
"""

from collections.abc import Iterator

from choreo.choreography import Step
from choreo.errors import Problem
from choreo.event import short
from choreo.lints.facts import Facts
from choreo.lints.graph import Graph
from choreo.lints.telling import any_of, union


def undoing(facts: Facts) -> Iterator[Problem]:
    """Yield what is wrong with the compensations of one saga type."""
    yield from _uncovered(facts)
    for step in facts.flow.steps:
        for each in facts.flow.undoing(step):
            yield from _chained(facts, step, each)
            yield from _unknown(step, each)
        if step.handler.kind == "otherwise":
            yield from _unnamed(facts, step)
            yield from _overtaken(facts, step)


def strange_causes(graph: Graph) -> Iterator[Problem]:
    """Yield compensations whose cause is nothing that is undone for."""
    compensations = [step for step in graph.choreography.steps if step.handler.kind == "compensation"]
    undoings = {name for step in compensations for name in step.handler.emits}
    for step in compensations:
        for name in sorted(set(step.handler.causes) - undoings - graph.failing(step.handler.causes) - graph.missing):
            message = f"{step.name} is caused by {short(name)}, which is no failure and no compensation's event"
            fix = f"Make it a failure: class {short(name)}(Failure, …)."
            yield Problem("CH072", message, step.handler.place, fix)


def _uncovered(facts: Facts) -> Iterator[Problem]:
    """36 (a): a failure after which what was done stays done."""
    for original, each in facts.coverage.left.items():
        # What a service undoes that is not here is not held against the others.
        failures = [failure for failure in each if failure in facts.opened.coverage.left.get(original, ())]
        if not failures:
            continue
        compensations = facts.coverage.undoers[original]
        causes = sorted({name for each in compensations for name in each.handler.causes})
        message = (
            f"{short(original)} is not undone where {any_of(failures)} comes: {compensations[0].name} waits for "
            f"{any_of(causes)}"
        )
        fix = f"Add {union(failures)} to its causes, or what undoes the step behind it."
        yield Problem("CH100", message, compensations[0].handler.place, fix)


def _chained(facts: Facts, step: Step, compensation: Step) -> Iterator[Problem]:
    """36 (b): a step that may be cancelled leaves no trace, and an undoing waits for one."""
    ends = facts.flow.completes | facts.flow.fails
    for name in compensation.handler.emits:
        waiting = next(iter(facts.flow.graph.hearing(name)), None)
        if waiting is not None and name in facts.coverage.unsure - ends:
            message = (
                f"where {step.name} is cancelled, {compensation.name} does not run, and {waiting.name} waits for "
                f"{short(name)} in vain"
            )
            fix = f"Let {compensation.name} take {short(compensation.handler.original[0])} | None: it runs then, too."
            yield Problem("CH101", message, compensation.handler.place, fix)


def _unknown(step: Step, compensation: Step) -> Iterator[Problem]:
    """36 (c): a step that touches the world, and may have done so though nothing tells of it."""
    handler = compensation.handler
    if step.handler.uses and not handler.original_optional and step.handler.kind != "compensation":
        message = (
            f"{step.name} is given {' or '.join(step.handler.uses)}, and {compensation.name} does not undo it where "
            "nobody knows whether it happened"
        )
        fix = f"Let {compensation.name} take {short(handler.original[0])} | None, and undo ctx.undoes_key then."
        yield Problem("CH103", message, handler.place, fix)


def _unnamed(facts: Facts, otherwise: Step) -> Iterator[Problem]:
    """36 (d): what a step's retries end with has to undo what the step may have done."""
    guarded = facts.flow.graph.guarded(otherwise)
    failures = facts.flow.graph.failing(otherwise.handler.emits)
    for compensation in facts.flow.undoing(guarded) if guarded is not None else ():
        missing = [name for name in otherwise.handler.emits if name in failures - set(compensation.handler.causes)]
        if missing and compensation.handler.original_optional and guarded is not None:
            message = (
                f"{otherwise.name} ends {guarded.name} with {any_of(missing)}, which {compensation.name} does not "
                "name: what the step did before its retries were spent stays done"
            )
            fix = f"Add {union(missing)} to the causes of {compensation.name}."
            yield Problem("CH104", message, compensation.handler.place, fix)


def _overtaken(facts: Facts, otherwise: Step) -> Iterator[Problem]:
    """36 (d): what a step's retries end with undoes that step first; everything else waits for that."""
    graph = facts.flow.graph
    guarded = graph.guarded(otherwise)
    own = (
        [each for each in facts.flow.undoing(guarded) if each.handler.original_optional] if guarded is not None else []
    )
    for failure in sorted(graph.failing(otherwise.handler.emits)):
        voids = [each for each in own if failure in each.handler.causes]
        names = {each.name for each in voids}
        for step in graph.hearing(failure) if voids else ():
            if step.name not in names:
                instead = union(voids[0].handler.emits) or f"an event that {voids[0].name} returns"
                message = (
                    f"{step.name} takes {short(failure)}, with which {otherwise.name} ends a step whose outcome nobody "
                    f"knows, before {voids[0].name} has undone it"
                )
                yield Problem("CH120", message, step.handler.place, f"Let it take {instead} instead.")
