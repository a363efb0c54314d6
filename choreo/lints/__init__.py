"""What the graph alone shows to be wrong, before anything runs.

`check` reads services, and `lints` looks at the merged graph of their manifests: what is not undone, what never ends,
what waits in vain (SEMANTICS 36). What one function or service gets wrong is told where it is read (`service`). Nothing
here does I/O.
"""

from collections.abc import Iterable, Sequence
from types import MappingProxyType

from choreo.choreography import Choreography
from choreo.errors import DeclarationError, Problem
from choreo.lints.agreement import agreement
from choreo.lints.circling import circling
from choreo.lints.codes import CODES as LINT_CODES
from choreo.lints.codes import WARNINGS
from choreo.lints.ending import ending
from choreo.lints.facts import Facts
from choreo.lints.flow import flows
from choreo.lints.graph import Graph
from choreo.lints.reaching import reaching
from choreo.lints.reversal import reversal
from choreo.lints.undoing import strange_causes, undoing
from choreo.lints.waiting import gathering, waiting
from choreo.manifest import Manifest
from choreo.service import CODES as READING_CODES
from choreo.service import Service, declarations

__all__ = ["CODES", "WARNINGS", "check", "lints"]

CODES = MappingProxyType(dict(sorted((READING_CODES | LINT_CODES).items())))
"""Code → title of everything that `check` may tell."""


def check(*services: Service, beside: Sequence[Manifest] = ()) -> list[Problem]:
    """Return what is wrong with these services, each and together, and what looks wrong where there are no others.

    Args:
        services: All services that work together, so that what one emits can be found in another.
        beside: What others announce whose code is not at hand; of a service that is in both its code counts.

    Returns:
        What nothing runs with, or else what the graph of all services shows, warnings last (`choreo.lints.WARNINGS` has
        their codes). The graph is looked at once every service can be read.
    """
    try:
        code = [Manifest.of(each) for each in declarations(*services)]
        problems = lints({each.service: each for each in (*beside, *code)}.values())
    except DeclarationError as error:
        problems = error.problems
    return sorted(problems, key=lambda problem: problem.code in WARNINGS)


def lints(manifests: Iterable[Manifest]) -> list[Problem]:
    """Return what the graph of these services shows to be wrong, each problem once, in a fixed order.

    Args:
        manifests: What the services announce, in that order; of several versions of one the last one counts.
    """
    announced = list(manifests)
    graph = Graph(Choreography(announced))
    found = [*agreement(graph, announced), *strange_causes(graph), *gathering(graph)]
    sagas = [Facts(flow) for flow in flows(graph)]
    found += reaching(graph, [facts.opened.flow for facts in sagas])
    for facts in sagas:
        found += [*undoing(facts), *reversal(facts), *ending(facts), *waiting(facts.opened), *circling(facts.opened)]
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.code, problem.place, problem.message))
