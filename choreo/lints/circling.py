"""Does every circle of handlers come to an end?

Whether something bounds a circle lives here; finding the circles does not (`circles`).
"""

from collections.abc import Iterator, Sequence

from choreo.choreography import Step
from choreo.errors import Problem
from choreo.lints.facts import Facts
from choreo.lints.flow import Flow


def circling(facts: Facts) -> Iterator[Problem]:
    """Yield circles that go on until `hops_max`: each round's events are new ones, so that each handler runs again."""
    for circle in facts.circles.all:
        if not _bounded(facts.flow, circle):
            names = " → ".join(step.name for step in (*circle, circle[0]))
            message = f"{names} is a circle that nothing bounds: it may go round until hops_max parks it"
            fix = (
                "Have a join in it, which runs once; or let it take its time with Later, and a deadline end it in a "
                "failure; or say unless=… on one of them."
            )
            yield Problem("CH113", message, circle[0].handler.place, fix)


def _bounded(flow: Flow, circle: Sequence[Step]) -> bool:
    """Return whether an event stops a circle: one that unless names, or a failure that a deadline brings in time."""
    if any(step.handler.unless for step in circle):
        return True
    own = {step.name for step in circle}
    deadlines = [step for step in flow.steps if step.handler.kind == "deadline" and step.name not in own]
    failing = any(not flow.failures.isdisjoint(step.handler.emits) for step in deadlines)
    return failing and any(_takes_time(step) for step in circle)


def _takes_time(step: Step) -> bool:
    return step.handler.kind == "deadline" or any(each.later for outcome in step.handler.outcomes for each in outcome)
