"""Which track each line takes among those that run beside it.

Tracks of channels and gaps live here, counted from the left and from the top; where those are on the page does not
(`page`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from choreo.diagram.drawing.card import Side
from choreo.diagram.drawing.grid import Grid
from choreo.diagram.drawing.routing import Route, falls
from choreo.diagram.drawing.track import Span, tracks


@dataclass(frozen=True, slots=True)
class Weave:
    """The tracks of all lines.

    Args:
        across: For each route its track in the gap where it runs across; 0 where it does not.
        down: For each route its track in each channel where it runs down.
        gaps: How many tracks each gap has.
        channels: How many tracks each channel has.
    """

    across: Sequence[int]
    down: Sequence[dict[int, int]]
    gaps: Sequence[int]
    channels: Sequence[int]


def weave(routes: Sequence[Route], grid: Grid) -> Weave:
    """Return the tracks of all lines."""
    across = [0] * len(routes)
    gaps = [0] * (grid.rows + 1)
    running: dict[int, list[int]] = {}
    for number, route in enumerate(routes):
        if route.gap is not None:
            running.setdefault(route.gap, []).append(number)
    for gap, numbers in running.items():
        found = tracks([_across(routes[number], gap) for number in numbers])
        gaps[gap] = max(found) + 1
        for number, track in zip(numbers, found, strict=True):
            across[number] = track
    heights = [_height(route, across[number], gaps) for number, route in enumerate(routes)]
    down, channels = _weave_down(routes, heights, grid.columns + 1)
    return Weave(across, down, gaps, channels)


def _weave_down(
    routes: Sequence[Route], heights: Sequence[float | None], channels: int
) -> tuple[list[dict[int, int]], list[int]]:
    spans: list[dict[int, Span]] = [{} for _ in range(channels)]
    for number, route in enumerate(routes):
        for channel, (low, high) in falls(route.net, heights[number]).items():
            if low < high:
                spans[channel][number] = _down(route, channel, (low, high), heights[number])
    down: list[dict[int, int]] = [{} for _ in routes]
    counts = []
    for channel, here in enumerate(spans):
        found = tracks(list(here.values()))
        counts.append(max(found, default=-1) + 1)
        for number, track in zip(here, found, strict=True):
            down[number][channel] = track
    return down, counts


def _height(route: Route, track: int, gaps: Sequence[int]) -> float | None:
    """Return how far down a route runs across, in rows; gap n is around n."""
    if route.level is not None:
        return route.level.height
    return None if route.gap is None else route.gap - 0.08 + 0.16 * (track + 0.5) / gaps[route.gap]


def _across(route: Route, gap: int) -> Span:
    pins = route.net.pins
    above = tuple(float(pin.channel) for pin in pins if pin.row < gap)
    below = tuple(float(pin.channel) for pin in pins if pin.row >= gap)
    return Span(min(above + below), max(above + below), before=above, after=below)


def _down(route: Route, channel: int, fall: tuple[float, float], height: float | None) -> Span:
    here = [pin for pin in route.net.pins if pin.channel == channel]
    left = [pin.height for pin in here if pin.side is Side.RIGHT]
    right = [pin.height for pin in here if pin.side is Side.LEFT]
    first, last = route.net.reach
    if height is not None:
        left += [height] * (first < channel)
        right += [height] * (last > channel)
    return Span(*fall, before=tuple(left), after=tuple(right))
