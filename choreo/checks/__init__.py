"""What the graph alone shows to be wrong, before anything runs.

`check` reads services; `check_manifests` looks at the merged graph of their manifests: what is not undone, what never
ends, what waits in vain (SEMANTICS 36). Mistakes within one function or service are found by `service`. No I/O.
"""

from collections.abc import Iterable, Sequence
from types import MappingProxyType

from choreo.checks.compensation_checks import check_causes, check_compensation_order, check_compensations
from choreo.checks.completion import check_completion
from choreo.checks.consistency import check_consistency
from choreo.checks.cycles import check_cycles
from choreo.checks.reachability import check_reachability
from choreo.checks.saga_analysis import SagaAnalysis
from choreo.checks.saga_flow import SagaFlow
from choreo.checks.waits import check_gathering, check_waits
from choreo.choreography import Choreography
from choreo.errors import DeclarationError, Problem
from choreo.manifest import Manifest
from choreo.service import CODES as READING_CODES
from choreo.service import Service, declarations

__all__ = ["CODES", "WARNINGS", "check", "check_manifests"]

_GRAPH_CODES = {
    # Every event has two ends.
    "CH012": "An event is returned that nobody handles, and another one of nearly that name is awaited (a warning)",
    "CH062": "Branches are gathered that nobody opens",
    "CH070": "An event is handled that nobody emits (a warning)",
    "CH071": "An event is published from outside that nobody handles (a warning)",
    "CH072": "A compensation's cause is neither a failure nor what a compensation emits (a warning)",
    "CH073": "A saga has no way to complete",
    # What sagas undo, and how they end.
    "CH100": "A failure leaves something that was done",
    "CH101": "An undoing waits for one that may never run",
    "CH102": "An undoing does not wait for that of what came later (a warning)",
    "CH103": "A step whose outcome is unknown is not undone (a warning)",
    "CH104": "What a step's retries end with does not undo it",
    "CH105": "A saga may fail when it has completed",
    "CH106": "A saga that may fail has no failing end",
    "CH107": "A saga is completed within a branch",
    "CH108": "A deadline awaits what only its branches bring",
    "CH109": "What unless may keep from coming is waited for",
    # What is never reached, or never ends.
    "CH110": "A handler is never reached",
    "CH111": "An event is for nobody, though others of its step are handled (a warning)",
    "CH112": "A failure does not end its saga",
    "CH113": "A circle of handlers has no bound (a warning)",
    "CH114": "A join never fills",
    "CH115": "A wait may never end (a warning)",
    "CH116": "A deadline is decided before it is set",
    "CH118": "A saga has no way to fail",
    "CH119": "Services disagree about an event",
    "CH120": "A step whose outcome is unknown is not undone first",
    # What a deploy breaks (`choreo.deploy`, `choreo.schema.evolution`).
    "CH121": "A handler is gone, and live sagas have steps of it",
    "CH122": "A compensation is gone, and live sagas may need it",
    "CH123": "An event is taken no more, and live sagas have it",
    "CH124": "A deadline is gone, and live sagas have set it",
    "CH125": "A saga type is changed, and sagas of it are live",
    "CH126": "A step waits for more than live sagas bring",
    "CH127": "An event is changed, and not all can read it",
    "CH128": "An event is gone, and other services go on with it",
}
CODES = MappingProxyType(dict(sorted((READING_CODES | _GRAPH_CODES).items())))
"""Code → title of everything that `check` may tell; docs/errors has a page for each."""
WARNINGS = frozenset({"CH012", "CH070", "CH071", "CH072", "CH102", "CH103", "CH111", "CH113", "CH115"})
"""Codes that keep nothing from running."""


def check(*services: Service, beside: Sequence[Manifest] = ()) -> list[Problem]:
    """Return what is wrong with these services, each and together, and what looks wrong where there are no others.

    Args:
        services: All services that work together, so that what one emits can be found in another.
        beside: What others announce whose code is not at hand; of a service that is in both its code counts.

    Returns:
        The mistakes that keep a service from being read or, where there are none, those that the graph of all services
        shows, warnings last (`choreo.checks.WARNINGS` has their codes).
    """
    try:
        code = [Manifest.of(each) for each in declarations(*services)]
        problems = check_manifests({each.service: each for each in (*beside, *code)}.values())
    except DeclarationError as error:
        problems = error.problems
    return sorted(problems, key=lambda problem: problem.code in WARNINGS)


def check_manifests(manifests: Iterable[Manifest]) -> list[Problem]:
    """Return what the graph of these services shows to be wrong, each problem once, in a fixed order.

    Args:
        manifests: What the services announce, in that order; of several versions of one the last one counts.
    """
    announced = list(manifests)
    graph = Choreography(announced)
    found = [*check_consistency(announced), *check_causes(graph), *check_gathering(graph)]
    sagas = [SagaAnalysis(SagaFlow(graph, saga)) for saga in graph.sagas.values()]
    found += check_reachability(graph, [analysis.opened.flow for analysis in sagas])
    for analysis in sagas:
        found += [
            *check_compensations(analysis),
            *check_compensation_order(analysis),
            *check_completion(analysis),
            *check_waits(analysis.opened),
            *check_cycles(analysis.opened.cycles),
        ]
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.code, problem.place, problem.message))
