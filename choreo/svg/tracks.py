"""Which track each line takes among those that run beside it, so that they cross least.

Tracks are counted from the left in a channel and from the top in a gap; where they are on the page is worked out in
`layout`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from choreo.svg.cards import Side
from choreo.svg.grid import Grid
from choreo.svg.nets import Route, falls

MARGIN = 0.04
"""How far apart lines on one track are, along it, in rows."""
ROUNDS_MAX = 200
"""Passes of neighbours changing places; the order is good long before."""


class Span(NamedTuple):
    """One line along a channel."""

    low: float  # Where it begins, along the channel.
    high: float  # Where it ends.
    before: tuple[float, ...] = ()  # Where it branches off towards the first track.
    after: tuple[float, ...] = ()  # Where it branches off towards the last track.


def track_numbers(spans: Sequence[Span]) -> list[int]:
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


class Tracks(NamedTuple):
    """The tracks of all lines."""

    across: Sequence[int]  # For each route its track in the gap where it runs across; 0 where it does not.
    down: Sequence[dict[int, int]]  # For each route its track in each channel where it runs down.
    gaps: Sequence[int]  # How many tracks each gap has.
    channels: Sequence[int]  # How many tracks each channel has.


def assign_tracks(routes: Sequence[Route], grid: Grid) -> Tracks:
    """Return the tracks of all lines."""
    across = [0] * len(routes)
    gaps = [0] * (grid.rows + 1)
    running: dict[int, list[int]] = {}
    for number, route in enumerate(routes):
        if route.gap is not None:
            running.setdefault(route.gap, []).append(number)
    for gap, numbers in running.items():
        found = track_numbers([_across(routes[number], gap) for number in numbers])
        gaps[gap] = max(found) + 1
        for number, track in zip(numbers, found, strict=True):
            across[number] = track
    heights = [_height(route, across[number], gaps) for number, route in enumerate(routes)]
    down, channels = _assign_down(routes, heights, grid.columns + 1)
    return Tracks(across, down, gaps, channels)


def _assign_down(
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
        found = track_numbers(list(here.values()))
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
