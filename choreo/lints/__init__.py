"""What the graph alone shows to be wrong, before anything runs.

`check` reads services, and `lints` looks at the merged graph of their manifests: what is not undone, what never ends,
what waits in vain (SEMANTICS 36). What one function or service gets wrong is told where it is read (`service`). Nothing
here does I/O.
"""

from collections.abc import Iterable

from choreo.choreography import Choreography
from choreo.errors import Problem
from choreo.lints.codes import CODES
from choreo.lints.codes import WARNINGS as LINT_WARNINGS
from choreo.lints.ending import ending
from choreo.lints.flow import flows
from choreo.lints.undoing import undoing
from choreo.manifest import Manifest
from choreo.service import WARNINGS as READING_WARNINGS
from choreo.service import Service, declarations, mistakes

__all__ = ["CODES", "WARNINGS", "check", "lints"]

WARNINGS = READING_WARNINGS | LINT_WARNINGS
"""Codes of all problems that keep nothing from running."""


def check(*services: Service) -> list[Problem]:
    """Return what is wrong with these services, each and together, and what looks wrong where there are no others.

    Args:
        services: All services that work together, so that what one emits can be found in another.

    Returns:
        What nothing runs with, then what the graph of all services shows, then warnings (`choreo.lints.WARNINGS` has
        their codes). The graph is looked at once every service can be read.
    """
    problems = mistakes(*services)
    if all(each.code in WARNINGS for each in problems):
        problems += lints(Manifest.of(each) for each in declarations(*services))
    return sorted(problems, key=lambda problem: problem.code in WARNINGS)


def lints(manifests: Iterable[Manifest]) -> list[Problem]:
    """Return what the graph of these services shows to be wrong, each problem once, in a fixed order."""
    found = [problem for flow in flows(Choreography(manifests)) for problem in (*undoing(flow), *ending(flow))]
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.code, problem.place, problem.message))
