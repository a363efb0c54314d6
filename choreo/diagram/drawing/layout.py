"""Where every card and every corner of a line is on the page.

Cards and ways become coordinates here; markup and colours do not (`document`, `style`). Pure, and the same for the same
picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from choreo.diagram.drawing.card import Card, Side, cards
from choreo.diagram.drawing.corners import Corners, Point, bends, branch
from choreo.diagram.drawing.grid import Grid, grid
from choreo.diagram.drawing.net import Net, Pin, nets
from choreo.diagram.drawing.page import Lane, Page
from choreo.diagram.drawing.routing import Route, routes
from choreo.diagram.drawing.weaving import Weave, weave
from choreo.diagram.picture import Picture
from choreo.handler import Kind

STRETCH_MAX = 200
"""How wide a card becomes, in pixels, because another one in its column is."""
RAIL = 7
"""How far left of the cards a link runs that passes others by, in pixels."""
RAIL_END = 12
"""How far from a card's corner such a link meets it, in pixels."""
LINK = 14
"""How far from its left edge a card is linked to the one above, in pixels."""


@dataclass(frozen=True, slots=True)
class Box:
    """A card on the page."""

    card: Card
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """One net on the page.

    Args:
        net: The net.
        paths: To each target, the corners from where it leaves the others' way.
        joins: From each source but the first, the corners to where it meets the first one's way.
    """

    net: Net
    paths: tuple[Corners, ...]
    joins: tuple[Corners, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """The line between a card and the one above it that it belongs to.

    Args:
        look: How it is drawn.
        path: Its corners: up to what is undone, or down to what takes over.
    """

    look: str
    path: Corners


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything on the page; the legend goes below it.

    Args:
        width: In pixels.
        height: In pixels.
        lanes: From top to bottom.
        boxes: In the order of the picture.
        lines: In the order of the picture.
        links: In the order of the picture.
    """

    width: float
    height: float
    lanes: tuple[Lane, ...]
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    links: tuple[Link, ...]


def drawing(picture: Picture) -> Drawing:
    """Return where everything of a picture is on the page."""
    made = cards(picture)
    placed = grid(picture, made)
    ways = routes(nets(picture, placed), placed)
    woven = weave(ways, placed)
    page = Page(placed, woven)
    boxes = {card.name: _box(card, placed, page) for card in made}
    return Drawing(
        width=page.width,
        height=page.height,
        lanes=tuple(page.lanes),
        boxes=tuple(boxes.values()),
        lines=tuple(_Pen(way, number, woven, page, boxes).line() for number, way in enumerate(ways)),
        links=tuple(_link(boxes[card.name], boxes[card.host], placed) for card in made if card.host),
    )


def _box(card: Card, placed: Grid, page: Page) -> Box:
    x, column = page.columns[card.column]
    width = max(card.width, min(column, STRETCH_MAX))
    return Box(card, x, page.rows[placed.places[card.name].row], width, card.height)


@dataclass(frozen=True, slots=True)
class _Pen:
    route: Route
    number: int
    weave: Weave
    page: Page
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
        down = self.weave.down[self.number]
        return self.page.down(channel, down[channel]) if channel in down else edge

    def _across(self) -> float | None:
        if self.route.level is not None:
            return self._at(self.route.level)[1]
        gap = self.route.gap
        return None if gap is None else self.page.across(gap, self.weave.across[self.number])


def _link(below: Box, above: Box, placed: Grid) -> Link:
    bottom = above.y + above.height
    path = [(below.x + LINK, below.y), (below.x + LINK, bottom)]
    if placed.places[below.card.name].row - placed.places[above.card.name].row > 1:
        low, high, rail = below.y + RAIL_END, bottom - RAIL_END, below.x - RAIL
        path = [(below.x, low), (rail, low), (rail, high), (above.x, high)]
    if below.card.kind is Kind.COMPENSATION:
        return Link("undoing", tuple(path))
    return Link("failure", tuple(reversed(path)))
