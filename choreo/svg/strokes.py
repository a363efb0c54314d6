"""Lines with rounded corners, arrow heads and signs.

Corners, where one line leaves another's way, and the markup of strokes live here; what is drawn, and where, does not
(`layout`, `document`), nor do colours (`stylesheet`). Lines run across or down, never aslant.
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


HEAD = 6
BASELINE = 4
"""How far below the middle of a line of text its letters stand, in pixels."""
SIGNS = {
    "start": "M-3.5,-4.5L4,0L-3.5,4.5Z",
    "completes": "M-5.5,0a5.5,5.5 0 1 0 11,0a5.5,5.5 0 1 0 -11,0M-2.6,0.2L-0.7,2.2L2.8,-2",
    "fails": "M-5.5,0a5.5,5.5 0 1 0 11,0a5.5,5.5 0 1 0 -11,0M-2,-2L2,2M2,-2L-2,2",
    "failure": "M-3.2,-3.2L3.2,3.2M3.2,-3.2L-3.2,3.2",
    "undoing": "M-1.5,-4.5L-5,-1.5L-1.5,1.5M-5,-1.5H1.5a3,3 0 0 1 0,6H-1",
    "fact": "M-1.6,0a1.6,1.6 0 1 0 3.2,0a1.6,1.6 0 1 0 -3.2,0",
    "clock": "M-5.5,0a5.5,5.5 0 1 0 11,0a5.5,5.5 0 1 0 -11,0M0,-3.2V0L2.3,1.5",
    "fan-out": "M-5,0L5,-4.5M-5,0H5M-5,0L5,4.5",
    "fan-in": "M5,0L-5,-4.5M5,0H-5M5,0L-5,4.5",
}
"""Paths around the middle of each sign, eleven pixels high."""


def arrow(corners: Sequence[Point]) -> str:
    """Return the same with a head at its end."""
    return f'{stroke(corners)}<path class="head" d="{_head(corners[-2], corners[-1])}"/>'


def stroke(corners: Sequence[Point]) -> str:
    """Return a line with its corners rounded."""
    return f'<path class="line" d="{_path(corners)}"/>'


def sign(name: str, x: float, y: float) -> str:
    """Return one of the signs, with its middle at a point."""
    return f'<path class="sign {name}" transform="translate({number(x)},{number(y)})" d="{SIGNS[name]}"/>'


def number(pixels: float) -> str:
    """Return a coordinate to a tenth of a pixel, as short as it can be."""
    return f"{pixels:.1f}".removesuffix(".0")


def _path(corners: Sequence[Point]) -> str:
    parts = [f"M{_point(corners[0])}"]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        near, far = curve(corner, before), curve(corner, after)
        parts.append(f"L{_point(near)}Q{_point(corner)} {_point(far)}")
    return "".join([*parts, f"L{_point(corners[-1])}"])


def _head(before: Point, end: Point) -> str:
    x, y = end
    if before[0] == x:
        back = y - HEAD if before[1] < y else y + HEAD
        return f"M{_point(end)}L{number(x - 3.5)},{number(back)}H{number(x + 3.5)}Z"
    back = x - HEAD if before[0] < x else x + HEAD
    return f"M{_point(end)}L{number(back)},{number(y - 3.5)}V{number(y + 3.5)}Z"


def _point(point: Point) -> str:
    return f"{number(point[0])},{number(point[1])}"
