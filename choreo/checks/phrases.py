"""How checks tell of events: by the names that people call them.

Wording that several checks share lives here; what they have to say does not.
"""

from collections.abc import Iterable

from choreo.event import short


def any_of(names: Iterable[str]) -> str:
    """Return event types as a sentence has them: `A or B`."""
    return " or ".join(map(short, names))


def union(names: Iterable[str]) -> str:
    """Return event types as a hint has them: `A | B`."""
    return " | ".join(map(short, names))
