"""The lines of a drawing: which events of a card go to which other cards, and where each line runs across.

Lines run up and down in the channels left of, between and right of the columns, and across in the gaps above, between
and below the rows, or straight through a row where it is empty. Lines side by side are told apart in `tracks`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from choreo.diagram.picture import Picture
from choreo.svg.cards import Side
from choreo.svg.grid import Cell, Grid


class Pin(NamedTuple):
    """Where a line meets a card."""

    card: str  # Name of the card.
    side: Side  # Its left or its right.
    offset: float  # How far below its top, in pixels.
    row: int  # The card's row.
    channel: int  # The channel that it opens on; channel n is left of column n.
    height: float  # How far down it is, in rows.


class Net(NamedTuple):
    """One line from a card to all that its events set going."""

    events: tuple[str, ...]  # Full names, several where all of them set the same going.
    sources: tuple[Pin, ...]  # Where it begins, one for each.
    targets: tuple[Pin, ...]  # Where it ends.
    look: str  # How it is drawn: `fact`, `failure` or `undoing`.

    @property
    def pins(self) -> tuple[Pin, ...]:
        """Return all its ends."""
        return (*self.sources, *self.targets)

    @property
    def reach(self) -> tuple[int, int]:
        """Return the first and the last channel that it touches."""
        channels = [pin.channel for pin in self.pins]
        return min(channels), max(channels)


def nets(picture: Picture, grid: Grid) -> list[Net]:
    """Return the lines between all cards, in the order of the picture."""
    tallest = max((place.card.height for place in grid.places.values()), default=1.0)
    ends: dict[str, list[Pin]] = {}
    for place in grid.places.values():
        for number, types in enumerate(place.card.ports):
            pin = _pin(place, place.card.enters, place.card.port_y(number), tallest)
            for event in types:
                ends.setdefault(event, []).append(pin)
    return [net for place in grid.places.values() for net in _leaving(place, ends, picture, tallest)]


def _leaving(place: Cell, ends: dict[str, list[Pin]], picture: Picture, tallest: float) -> Iterator[Net]:
    """Return the nets of one card: what its rows have in common shares a line."""
    alike: dict[tuple[tuple[Pin, ...], str], dict[str, Pin]] = {}
    for number, row in enumerate(place.card.rows):
        if row.event in ends:
            pin = _pin(place, place.card.leaves, place.card.row_y(number), tallest)
            alike.setdefault((tuple(ends[row.event]), picture.event_look(row.event)), {})[row.event] = pin
    for (targets, look), begins in alike.items():
        yield Net(tuple(begins), tuple(begins.values()), targets, look)


def _pin(place: Cell, side: Side, offset: float, tallest: float) -> Pin:
    channel = place.card.column + (side is Side.RIGHT)
    # Nine tenths of a row are cards, the rest is the gaps above and below.
    return Pin(place.card.name, side, offset, place.row, channel, place.row + 0.1 + 0.8 * offset / tallest)


class Route(NamedTuple):
    """Where a net runs across."""

    net: Net
    gap: int | None = None  # In this gap; None where it does not, or runs straight.
    level: Pin | None = None  # At the height of this pin, within a row; None where it does not.


def routes(nets: Sequence[Net], grid: Grid) -> list[Route]:
    """Return where each net runs across, in their order: where it has to run up and down least."""
    taken = {(place.row, place.card.column) for place in grid.places.values()}
    straight: set[Pin] = set()
    found: dict[int, Route] = {}
    # Short lines first: they have the least choice.
    for number in sorted(range(len(nets)), key=lambda number: (nets[number].reach[1] - nets[number].reach[0], number)):
        found[number] = _route(nets[number], taken, straight)
        straight.update(filter(None, [found[number].level]))
    return [found[number] for number in range(len(nets))]


def _route(net: Net, taken: set[tuple[int, int]], straight: set[Pin]) -> Route:
    first, last = net.reach
    if first == last:
        return Route(net)
    rows = [pin.row for pin in net.pins]
    length, gap = min((_length(net, gap), gap) for gap in range(min(rows), max(rows) + 2))
    # What meets cards on their left never is where anything meets them on their right (`cards`), and two cards in one
    # row are in each other's way: where a row is empty, only a line to the same pin may be at a pin's height.
    free = (
        (_length(net, pin.height), number)
        for number, pin in enumerate(net.pins)
        if pin not in straight and all((pin.row, column) not in taken for column in range(first, last))
    )
    shortest, number = min(free, default=(length, -1))
    if number >= 0 and shortest <= length:
        return Route(net, level=net.pins[number])
    return Route(net, gap=gap)


def _length(net: Net, height: float) -> float:
    """Return how far a net runs up and down, in rows, where it runs across at this height."""
    return sum(end - begin for begin, end in falls(net, height).values())


def falls(net: Net, across: float | None) -> dict[int, tuple[float, float]]:
    """Return from where to where a net runs down in each channel, in rows.

    Args:
        net: The net.
        across: How far down it runs across; None where it does not.
    """
    heights: dict[int, list[float]] = {}
    for pin in net.pins:
        heights.setdefault(pin.channel, [] if across is None else [across]).append(pin.height)
    return {channel: (min(each), max(each)) for channel, each in heights.items()}
