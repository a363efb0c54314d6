"""One seed, and any number of decisions that follow from it.

Drawing lives here; what is decided does not. Each decision is drawn by its own name and not in turn, so that leaving
one out changes no other: that is what lets a run that failed be made smaller. A scenario with a seed has one.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

_SPAN = 1 << 64
T = TypeVar("T")


class Chance:
    """Decisions by name; the same on every machine and every version of Python.

    Args:
        seed: What they follow from.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def draw(self, *name: object) -> float:
        """Return a number in [0, 1) that belongs to this name."""
        return self._number(name) / _SPAN

    def choose(self, options: Sequence[T], *name: object) -> T:
        """Return one of several options, each as likely as the others."""
        return options[self._number(name) % len(options)]

    def _number(self, name: Sequence[object]) -> int:
        text = "\n".join((str(self.seed), *map(str, name)))
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
