"""Lines as the corners they turn at.

Leaving out corners where a line goes straight on, and finding where one line leaves another's way, lives here; where
lines go does not (`routing`, `layout`). Lines run across or down, never aslant.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

Point = tuple[float, float]
Corners = tuple[Point, ...]
CORNER = 6
"""How far from a corner its curve begins, in pixels."""


def bends(corners: Iterable[Point]) -> Corners:
    """Return the ends of a line and the corners where it turns."""
    kept: list[Point] = []
    for corner in corners:
        if kept and kept[-1] == corner:
            continue
        if len(kept) > 1 and (kept[-2][0] == kept[-1][0] == corner[0] or kept[-2][1] == kept[-1][1] == corner[1]):
            kept.pop()
        kept.append(corner)
    return tuple(kept)


def branch(way: Corners, others: Sequence[Corners]) -> Corners:
    """Return what is left of a way where it has left all others, which begin where it does.

    It begins a little before, so that its curve leaves theirs.
    """
    shared = max((_shared(way, other) for other in others), default=0)
    if shared == 0:
        return way
    left = max(0.0, shared - 2 * CORNER)
    for place, (before, after) in enumerate(pairwise(way)):
        length = _length(before, after)
        if left < length:
            return (_towards(before, after, left), *way[place + 1 :])
        left -= length
    return way[-2:]


def curve(corner: Point, other: Point) -> Point:
    """Return where the curve of a corner begins, on the way to another one and never more than halfway to it."""
    return _towards(corner, other, min(CORNER, _length(corner, other) / 2))


def _shared(way: Corners, other: Corners) -> float:
    """Return how far two ways from one point are the same."""
    found = 0.0
    for mine, theirs in zip(pairwise(way), pairwise(other), strict=False):
        if _direction(*mine) != _direction(*theirs):
            break
        length, their_length = _length(*mine), _length(*theirs)
        found += min(length, their_length)
        if length != their_length:
            break
    return found


def _direction(start: Point, end: Point) -> tuple[bool, bool, bool, bool]:
    return end[0] > start[0], end[0] < start[0], end[1] > start[1], end[1] < start[1]


def _length(start: Point, end: Point) -> float:
    return abs(end[0] - start[0]) + abs(end[1] - start[1])


def _towards(start: Point, end: Point, distance: float) -> Point:
    share = distance / _length(start, end)
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
