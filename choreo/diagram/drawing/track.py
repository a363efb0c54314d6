"""Parallel lines side by side, in the order in which they cross least.

A channel or a gap holds lines that run the same way; each begins, ends and branches off at some places along it.
Which of them lies where across it is decided here; it is the same for lines that run down and lines that run across.
"""

from collections.abc import Sequence
from typing import NamedTuple

MARGIN = 0.04
"""How far apart lines on one track are, along it, in rows."""
ROUNDS_MAX = 200
"""Passes of neighbours changing places; the order is good long before."""


class Span(NamedTuple):
    """One line along a channel.

    Attributes:
        low: Where it begins, along the channel.
        high: Where it ends.
        before: Where it branches off towards the first track.
        after: Where it branches off towards the last track.
    """

    low: float
    high: float
    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()


def tracks(spans: Sequence[Span]) -> list[int]:
    """Return a track for each line, from 0; lines that meet along the channel never share one."""
    order = _ordered(spans)
    found = [0] * len(spans)
    for place, number in enumerate(order):
        met = [found[other] for other in order[:place] if _meet(spans[number], spans[other])]
        found[number] = max(met, default=-1) + 1
    return found


def _ordered(spans: Sequence[Span]) -> list[int]:
    order = sorted(range(len(spans)), key=lambda number: (spans[number].low, spans[number].high, number))
    for _ in range(ROUNDS_MAX):
        changed = False
        for place in range(len(order) - 1):
            first, second = order[place], order[place + 1]
            if _crossings(spans[second], spans[first]) < _crossings(spans[first], spans[second]):
                order[place], order[place + 1] = second, first
                changed = True
        if not changed:
            break
    return order


def _crossings(first: Span, second: Span) -> int:
    """Return how often two lines cross where the first lies before the second."""
    over = sum(second.low <= place <= second.high for place in first.after)
    return over + sum(first.low <= place <= first.high for place in second.before)


def _meet(one: Span, other: Span) -> bool:
    return one.low <= other.high + MARGIN and other.low <= one.high + MARGIN
