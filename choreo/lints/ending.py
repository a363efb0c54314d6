"""Does a saga end, and once? SEMANTICS 36 (e) to (h).

What is wrong with how sagas complete and fail lives here; what they leave undone does not (`undoing`).
"""

from collections.abc import Iterator

from choreo.errors import Problem
from choreo.event import short
from choreo.lints.exclusion import Exclusion
from choreo.lints.flow import Flow


def ending(flow: Flow) -> Iterator[Problem]:
    """Yield what is wrong with the ends of one saga type."""
    yield from _late_failures(flow)
    yield from _unfailing(flow)
    yield from _branched(flow)
    yield from _out_of_sight(flow)


def _late_failures(flow: Flow) -> Iterator[Problem]:
    """36 (e): a failure that may follow `completes`; what the owner itself emits excludes that (rule 19)."""
    exclusion = Exclusion(flow, in_branch=True)
    for failure in sorted(flow.failures):
        producers = list(flow.producers(failure))
        if failure not in flow.outside and all(each.service == flow.owner for each in producers):
            continue
        late = [end for end in sorted(flow.completes & flow.events) if not exclusion.of(failure, end)]
        if late:
            place = producers[0].handler.place if producers else ""
            by = producers[0].name if producers else "somebody outside"
            message = f"{by} may emit {short(failure)} when {short(late[0])} has completed the saga"
            fix = (
                f"Let {flow.owner} wait for the answer of that step before it completes the saga; or make the answer "
                f"an event, and let {flow.owner} turn it into the failure."
            )
            yield Problem("CH105", message, place, fix)


def _unfailing(flow: Flow) -> Iterator[Problem]:
    """36 (f): failures without a failing end."""
    if flow.failures and not flow.fails:
        message = f"saga {flow.saga_type} may meet {short(min(flow.failures))}, and nothing says that it has failed"
        fix = f"Give it fails=…, an event that {flow.owner} emits once what was done is undone."
        yield Problem("CH106", message, flow.place, fix)


def _branched(flow: Flow) -> Iterator[Problem]:
    """36 (g): a saga is completed once, and not by one of its branches."""
    for end in sorted(flow.completes & flow.events):
        if any(flow.depths[end]):
            [by, *_] = flow.producers(end)
            message = f"{by.name} emits {short(end)}, which completes the saga, within a branch"
            fix = "Gather the branches first: a parameter list[…] takes one event from each."
            yield Problem("CH107", message, by.handler.place, fix)


def _out_of_sight(flow: Flow) -> Iterator[Problem]:
    """36 (h): what is awaited comes in inner branches only, where it does not count."""
    for step in flow.steps:
        handler = step.handler
        if handler.kind != "deadline":
            continue
        outer = max((depth for types in handler.waits_for for name in types for depth in flow.depths[name]), default=0)
        come = [name for name in handler.awaits if flow.depths.get(name)]
        if come and all(min(flow.depths[name]) > outer for name in come):
            message = (
                f"{step.name} awaits {short(come[0])}, which comes in branches only: it does not count outside them"
            )
            fix = "Await what gathers the branches, or count from what opens them."
            yield Problem("CH108", message, handler.place, fix)
