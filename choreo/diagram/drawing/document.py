"""A choreography as one SVG document, drawn by choreo itself.

Its markup lives here; where things are and how they look does not (`layout`, `style`). It needs no other program,
loads nothing, and follows its reader's choice of light or dark.
"""

from collections.abc import Iterator
from html import escape

from choreo.choreography import Choreography
from choreo.diagram.drawing.card import ICON, PAD, Card, Side
from choreo.diagram.drawing.ink import BASELINE, arrow, number, sign, stroke
from choreo.diagram.drawing.layout import Box, Line, Link, drawing
from choreo.diagram.drawing.legend import legend
from choreo.diagram.drawing.page import LANE_TITLE, MARGIN, Lane
from choreo.diagram.drawing.style import sheet
from choreo.diagram.picture import Picture
from choreo.diagram.wording import visible
from choreo.handler import Kind

_UNDER = ("fact", "undoing", "failure")
"""Which lines lie below which."""


def svg(choreography: Choreography) -> str:
    """Return an SVG document: a lane for each service, steps from left to right, what undoes them below."""
    picture = Picture(choreography)
    drawn = drawing(picture)
    meanings, below = legend(drawn, picture)
    width, height = number(drawn.width), number(drawn.height + below)
    size = f'width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="choreo" role="img" viewBox="0 0 {width} {height}" {size}>',
        f"<title>{escape(visible(_title(picture)))}</title>",
        f"<style>{sheet()}</style>",
        f'<rect class="page" {size} rx="10"/>',
        *(_lane(lane, drawn.width) for lane in drawn.lanes),
        *(_line(line, picture) for line in sorted(drawn.lines, key=lambda line: _UNDER.index(line.net.look))),
        *(_link(link) for link in drawn.links),
        *("".join(_card(box, picture)) for box in drawn.boxes),
        *meanings,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _title(picture: Picture) -> str:
    sagas, services = ", ".join(picture.choreography.sagas), ", ".join(picture.services)
    return f"{sagas}: {services}" if sagas else services


def _lane(lane: Lane, width: float) -> str:
    return (
        f'<rect class="lane" x="{number(MARGIN / 2)}" y="{number(lane.top)}" width="{number(width - MARGIN)}" '
        f'height="{number(lane.bottom - lane.top)}" rx="8"/>'
        f'<text class="service" x="{2 * MARGIN}" y="{number(lane.top + LANE_TITLE - 10)}">'
        f"{escape(visible(lane.service) or 'elsewhere')}</text>"
    )


def _line(line: Line, picture: Picture) -> str:
    events = ", ".join(picture.label(event) for event in line.net.events)
    takers = ", ".join(step.name for step in picture.takers(line.net.events[0]))
    arrows = "".join([*map(arrow, line.paths), *map(stroke, line.joins)])
    return f'<g class="net {line.net.look}"><title>{escape(visible(f"{events} → {takers}"))}</title>{arrows}</g>'


def _link(link: Link) -> str:
    return f'<g class="{link.look}">{arrow(link.path)}</g>'


def _card(box: Box, picture: Picture) -> Iterator[str]:
    card = box.card
    source = card.kind is None
    looks = card.kind or ("source" if card.service else "source unknown")
    yield f'<g class="{looks}" transform="translate({number(box.x)},{number(box.y)})">'
    yield f'<rect class="card" width="{number(box.width)}" height="{number(box.height)}" rx="{14 if source else 6}"/>'
    yield from _heading(card)
    yield from _rows(box, picture)
    if len(card.ports) > 1:
        x = number(box.width if card.enters is Side.RIGHT else 0)
        first, last = card.port_y(0), card.port_y(len(card.ports) - 1)
        yield f'<path class="join" d="M{x},{number(first - 3)}V{number(last + 3)}"/>'
    yield "</g>"


def _heading(card: Card) -> Iterator[str]:
    name = "undoing" if card.kind is Kind.COMPENSATION else "clock" if card.kind is Kind.DEADLINE else ""
    if card.gathers is not None:
        name = "fan-in"
    if name:
        yield sign(name, PAD + 5, card.title_y)
    x = PAD + (ICON if name else 0)
    yield f'<text class="title" x="{x}" y="{number(card.title_y + BASELINE)}">{escape(card.title)}</text>'
    for place, note in enumerate(card.notes):
        y = number(card.note_y(place) + BASELINE)
        yield f'<text class="note" x="{PAD}" y="{y}">{escape(note)}</text>'


def _rows(box: Box, picture: Picture) -> Iterator[str]:
    for place, row in enumerate(box.card.rows):
        y, kind = box.card.row_y(place), picture.kind(row.event)
        yield sign(kind, PAD + 5, y)
        yield f'<text class="{kind}" x="{PAD + ICON}" y="{number(y + BASELINE)}">{escape(row.label)}</text>'
        if row.opens or row.later:
            yield sign("fan-out" if row.opens else "clock", box.width - PAD - 2, y)
