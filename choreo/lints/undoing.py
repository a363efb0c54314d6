"""Is all undone that has to be? SEMANTICS 36 (a) to (d).

What a flow's compensations leave out lives here; what its ends do does not (`ending`).
"""

from collections.abc import Iterable, Iterator

from choreo.choreography import Step
from choreo.errors import Problem
from choreo.event import short
from choreo.lints.consequences import Consequences
from choreo.lints.exclusion import Exclusion
from choreo.lints.flow import Flow


def undoing(flow: Flow) -> Iterator[Problem]:
    """Yield what is wrong with the compensations of one saga type."""
    exclusion, consequences = Exclusion(flow), Consequences(flow)
    for step in flow.steps:
        compensations = flow.undoing(step)
        for original in sorted({name for each in compensations for name in each.handler.original}):
            if original in step.handler.emits:
                yield from _uncovered(flow, exclusion, consequences, step, original)
        for each in compensations:
            yield from _chained(flow, step, each)
            if step.handler.uses and not each.handler.original_optional and step.handler.kind != "compensation":
                message = (
                    f"{step.name} is given {_or(step.handler.uses)}, and {each.name} does not undo it where nobody "
                    "knows whether it happened"
                )
                fix = f"Let {each.name} take {short(each.handler.original[0])} | None, and undo ctx.undoes_key then."
                yield Problem("CH103", message, each.handler.place, fix)
        if step.handler.kind == "otherwise":
            yield from _unnamed(flow, step)


def _uncovered(
    flow: Flow, exclusion: Exclusion, consequences: Consequences, step: Step, original: str
) -> Iterator[Problem]:
    """36 (a): a failure after which what was done stays done."""
    causes = {name for each in flow.undoing(step) if original in each.handler.original for name in each.handler.causes}
    left = [
        failure
        for failure in sorted(flow.first_failures)
        if not exclusion.of(original, failure) and not consequences.reach(causes, original, failure)
    ]
    if left:
        compensation = next(each for each in flow.undoing(step) if original in each.handler.original)
        message = (
            f"{short(original)} is not undone where {_or(map(short, left))} comes: {compensation.name} waits for "
            f"{_or(map(short, sorted(causes)))}"
        )
        fix = f"Add {' | '.join(map(short, left))} to its causes, or what undoes the step behind it."
        yield Problem("CH100", message, compensation.handler.place, fix)


def _chained(flow: Flow, step: Step, compensation: Step) -> Iterator[Problem]:
    """36 (b): a step that may be cancelled leaves no trace, and an undoing waits for one."""
    if compensation.handler.original_optional:
        return
    for name in compensation.handler.emits:
        waiting = [each for each in flow.steps if name in each.takes]
        if waiting and name not in flow.completes | flow.fails:
            message = (
                f"where {step.name} is cancelled, {compensation.name} does not run, and {waiting[0].name} waits for "
                f"{short(name)} in vain"
            )
            fix = f"Let {compensation.name} take {short(compensation.handler.original[0])} | None: it runs then, too."
            yield Problem("CH101", message, compensation.handler.place, fix)


def _unnamed(flow: Flow, otherwise: Step) -> Iterator[Problem]:
    """36 (d): what a step's retries end with has to undo what the step may have done."""
    guarded = flow.guarded(otherwise)
    if guarded is not None:
        for compensation in flow.undoing(guarded):
            missing = [
                name
                for name in otherwise.handler.emits
                if flow.choreography.events[name].failure and name not in compensation.handler.causes
            ]
            if missing and compensation.handler.original_optional:
                message = (
                    f"{otherwise.name} ends {guarded.name} with {_or(map(short, missing))}, which {compensation.name} "
                    "does not name: what the step did before its retries were spent stays done"
                )
                fix = f"Add {' | '.join(map(short, missing))} to the causes of {compensation.name}."
                yield Problem("CH104", message, compensation.handler.place, fix)


def _or(names: Iterable[str]) -> str:
    return " or ".join(names)
