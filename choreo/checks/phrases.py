"""Event types in messages, by their class names.

Phrases that several checks share live here; the messages do not.
"""

from collections.abc import Iterable

from choreo.event import short


def any_of(names: Iterable[str]) -> str:
    """Return event types as a sentence has them: `A or B`."""
    return " or ".join(map(short, names))


def union(names: Iterable[str]) -> str:
    """Return event types as a hint has them: `A | B`."""
    return " | ".join(map(short, names))
