"""The lines of a drawing before they have a way: which events of a card go to which other cards.

Ends of lines and the nets that tie them together live here; which way a net takes does not (`routing`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from choreo.diagram.drawing.card import Side
from choreo.diagram.drawing.grid import Grid, Place
from choreo.diagram.picture import Picture


@dataclass(frozen=True, slots=True)
class Pin:
    """Where a line meets a card.

    Args:
        card: Name of the card.
        side: Its left or its right.
        offset: How far below its top, in pixels.
        row: The card's row.
        channel: The channel that it opens on; channel n is left of column n.
        height: How far down it is, in rows.
    """

    card: str
    side: Side
    offset: float
    row: int
    channel: int
    height: float


@dataclass(frozen=True, slots=True)
class Net:
    """One line from a card to all that its events set going.

    Args:
        events: Full names, several where all of them set the same going.
        sources: Where it begins, one for each.
        targets: Where it ends.
        look: How it is drawn: `fact`, `failure` or `undoing`.
    """

    events: tuple[str, ...]
    sources: tuple[Pin, ...]
    targets: tuple[Pin, ...]
    look: str

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


def _leaving(place: Place, ends: dict[str, list[Pin]], picture: Picture, tallest: float) -> Iterator[Net]:
    """Return the nets of one card: what its rows have in common shares a line."""
    alike: dict[tuple[tuple[Pin, ...], str], dict[str, Pin]] = {}
    for number, row in enumerate(place.card.rows):
        if row.event in ends:
            pin = _pin(place, place.card.leaves, place.card.row_y(number), tallest)
            alike.setdefault((tuple(ends[row.event]), picture.event_look(row.event)), {})[row.event] = pin
    for (targets, look), begins in alike.items():
        yield Net(tuple(begins), tuple(begins.values()), targets, look)


def _pin(place: Place, side: Side, offset: float, tallest: float) -> Pin:
    channel = place.card.column + (side is Side.RIGHT)
    # Nine tenths of a row are cards, the rest is the gaps above and below.
    return Pin(place.card.name, side, offset, place.row, channel, place.row + 0.1 + 0.8 * offset / tallest)
