"""The strokes that a drawing is made of: lines with rounded corners, arrow heads, signs.

Their markup lives here; what is drawn, and where, does not (`document`, `legend`), nor do colours (`style`).
"""

from collections.abc import Sequence

from choreo.diagram.drawing.corners import Point, curve

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
