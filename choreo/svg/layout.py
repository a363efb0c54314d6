"""Where every card, and every corner of a line, is on the page, in pixels.

How wide channels and how high gaps must be for their tracks lives here, too; markup and colours do not (`document`,
`stylesheet`). Pure, and the same for the same picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from choreo.diagram.picture import Picture
from choreo.handler import Kind
from choreo.svg.cards import Card, Side, cards, text_width
from choreo.svg.grid import Grid, grid
from choreo.svg.nets import Net, Pin, Route, nets, routes
from choreo.svg.strokes import Corners, Point, bends, branch
from choreo.svg.tracks import Tracks, assign_tracks

TRACK = 9
CHANNEL_MIN = 34
CHANNEL_PAD = 13
GAP_MIN = 26
GAP_PAD = 10
LANE_TITLE = 30
LANE_TITLE_PX = 13
GUTTER = 10
MARGIN = 14


class Lane(NamedTuple):
    """A service's lane, from top to bottom; it is as wide as the page."""

    service: str
    top: float
    bottom: float


class Measures:
    """The page, in pixels."""

    def __init__(self, grid: Grid, tracks: Tracks) -> None:
        self.grid = grid
        self.tracks = tracks
        self.channels: list[float] = []  # The middle of each channel.
        self.columns: list[tuple[float, float]] = []  # Left edge and width of each column.
        self.gaps: list[float] = []  # The top of the first track in each gap.
        self.rows: list[float] = []  # The top of each row.
        self.lanes: list[Lane] = []  # From top to bottom.
        self.width = self._lay_across()
        self.height = self._lay_down()

    def down(self, channel: int, track: int) -> float:
        """Return where a track of a channel is, from the left."""
        return self.channels[channel] + TRACK * (track - (self.tracks.channels[channel] - 1) / 2)

    def across(self, gap: int, track: int) -> float:
        """Return where a track of a gap is, from the top."""
        return self.gaps[gap] + TRACK * (track + 0.5)

    def _lay_across(self) -> float:
        x = float(MARGIN)
        for column in range(self.grid.columns + 1):
            count = self.tracks.channels[column]
            outer = column in {0, self.grid.columns} and not count
            channel = CHANNEL_PAD if outer else max(CHANNEL_MIN, 2 * CHANNEL_PAD + TRACK * count)
            self.channels.append(x + channel / 2)
            x += channel
            if column < self.grid.columns:
                width = max(card.width for card, _ in self.grid.places.values() if card.column == column)
                self.columns.append((x, width))
                x += width
        titles = [2 * MARGIN + text_width(service, LANE_TITLE_PX) for service, _, _ in self.grid.lanes]
        return max([x, *titles]) + MARGIN

    def _lay_down(self) -> float:
        y = float(MARGIN)
        for service, first, last in self.grid.lanes:
            top = y
            y += LANE_TITLE
            for row in range(first, last):
                if row == 0:
                    self.gaps.append(y)
                    y += self._tracks(row)
                elif row > first:
                    self.gaps.append(y + GAP_PAD)
                    y += max(GAP_MIN, 2 * GAP_PAD + self._tracks(row))
                self.rows.append(y)
                y += max(card.height for card, at in self.grid.places.values() if at == row)
            self.gaps.append(y + GAP_PAD)
            y += 2 * GAP_PAD + self._tracks(last)
            self.lanes.append(Lane(service, top, y))
            y += GUTTER
        return y

    def _tracks(self, gap: int) -> float:
        return TRACK * self.tracks.gaps[gap]


STRETCH_MAX = 200
"""How wide a card becomes, in pixels, because another one in its column is."""
RAIL = 7
"""How far left of the cards a link runs that passes others by, in pixels."""
RAIL_END = 12
"""How far from a card's corner such a link meets it, in pixels."""
LINK = 14
"""How far from its left edge a card is linked to the one above, in pixels."""


class Box(NamedTuple):
    """A card on the page."""

    card: Card
    x: float
    y: float
    width: float
    height: float


class Line(NamedTuple):
    """One net on the page."""

    net: Net
    paths: tuple[Corners, ...]  # To each target, the corners from where it leaves the others' way.
    joins: tuple[Corners, ...]  # From each source but the first, the corners to where it meets the first one's way.


class Link(NamedTuple):
    """The line between a card and the one above it that it belongs to."""

    look: str  # How it is drawn.
    path: Corners  # Its corners: up to what is undone, or down to what takes over.


class Drawing(NamedTuple):
    """Everything on the page; the legend goes below it."""

    width: float
    height: float
    lanes: tuple[Lane, ...]  # From top to bottom.
    boxes: tuple[Box, ...]  # In the order of the picture.
    lines: tuple[Line, ...]  # In the order of the picture.
    links: tuple[Link, ...]  # In the order of the picture.


def drawing(picture: Picture) -> Drawing:
    """Return where everything of a picture is on the page."""
    made = cards(picture)
    placed = grid(picture, made)
    ways = routes(nets(picture, placed), placed)
    tracks = assign_tracks(ways, placed)
    page = Measures(placed, tracks)
    boxes = {card.name: _box(card, placed, page) for card in made}
    return Drawing(
        width=page.width,
        height=page.height,
        lanes=tuple(page.lanes),
        boxes=tuple(boxes.values()),
        lines=tuple(_Pen(way, number, page, boxes).line() for number, way in enumerate(ways)),
        links=tuple(_link(boxes[card.name], boxes[card.host], placed) for card in made if card.host),
    )


def _box(card: Card, placed: Grid, page: Measures) -> Box:
    x, column = page.columns[card.column]
    width = max(card.width, min(column, STRETCH_MAX))
    return Box(card, x, page.rows[placed.places[card.name].row], width, card.height)


@dataclass(frozen=True, slots=True)
class _Pen:
    route: Route
    number: int
    page: Measures
    boxes: Mapping[str, Box]

    def line(self) -> Line:
        net = self.route.net
        first, *others = net.sources
        ways = [self._way(first, target) for target in net.targets]
        joins = [self._way(other, net.targets[0]) for other in others]
        return Line(
            net,
            tuple(branch(way, ways[:place]) for place, way in enumerate(ways)),
            tuple(branch(way[::-1], [each[::-1] for each in ways])[::-1] for way in joins),
        )

    def _way(self, source: Pin, target: Pin) -> Corners:
        (x, y), (end_x, end_y) = self._at(source), self._at(target)
        first, last = self._turn(source.channel, x), self._turn(target.channel, end_x)
        across = self._across()
        corners = [(x, y), (first, y)]
        if first != last and across is not None:
            corners += [(first, across), (last, across)]
        return bends([*corners, (last, end_y), (end_x, end_y)])

    def _at(self, pin: Pin) -> Point:
        box = self.boxes[pin.card]
        return box.x + (box.width if pin.side is Side.RIGHT else 0), box.y + pin.offset

    def _turn(self, channel: int, edge: float) -> float:
        """Return where it runs down in a channel; where it does not, the edge of its card."""
        down = self.page.tracks.down[self.number]
        return self.page.down(channel, down[channel]) if channel in down else edge

    def _across(self) -> float | None:
        if self.route.level is not None:
            return self._at(self.route.level)[1]
        gap = self.route.gap
        return None if gap is None else self.page.across(gap, self.page.tracks.across[self.number])


def _link(below: Box, above: Box, placed: Grid) -> Link:
    bottom = above.y + above.height
    path = [(below.x + LINK, below.y), (below.x + LINK, bottom)]
    if placed.places[below.card.name].row - placed.places[above.card.name].row > 1:
        low, high, rail = below.y + RAIL_END, bottom - RAIL_END, below.x - RAIL
        path = [(below.x, low), (rail, low), (rail, high), (above.x, high)]
    if below.card.kind is Kind.COMPENSATION:
        return Link("undoing", tuple(path))
    return Link("failure", tuple(reversed(path)))
