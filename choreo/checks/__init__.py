"""What the graph alone shows to be wrong, before anything runs.

`check` reads services; `check_manifests` looks at the merged graph of their manifests: what is not undone, what never
ends, what waits in vain (SEMANTICS 36). Mistakes within one function or service are found by `service`. No I/O.
"""

from collections.abc import Iterable, Sequence
from types import MappingProxyType

from choreo.checks.check_codes import CODES as LINT_CODES
from choreo.checks.check_codes import WARNINGS
from choreo.checks.compensation_checks import check_causes, check_compensation_order, check_compensations
from choreo.checks.completion import check_completion
from choreo.checks.consistency import check_consistency
from choreo.checks.cycles import check_cycles
from choreo.checks.reachability import check_reachability
from choreo.checks.saga_analysis import SagaAnalysis
from choreo.checks.saga_flow import flows
from choreo.checks.waits import check_gathering, check_waits
from choreo.choreography import Choreography
from choreo.errors import DeclarationError, Problem
from choreo.manifest import Manifest
from choreo.service import CODES as READING_CODES
from choreo.service import Service, declarations

__all__ = ["CODES", "WARNINGS", "check", "check_manifests"]

CODES = MappingProxyType(dict(sorted((READING_CODES | LINT_CODES).items())))
"""Code → title of everything that `check` may tell."""


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
    sagas = [SagaAnalysis(flow) for flow in flows(graph)]
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
