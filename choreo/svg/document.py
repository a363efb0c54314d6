"""A choreography as one SVG document, drawn by choreo itself, with a legend of what occurs in it.

Markup lives here; where things are and how they look does not (`layout`, `stylesheet`). The document needs no other
program, loads nothing, and follows its reader's choice of light or dark.
"""

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from choreo.choreography import Choreography
from choreo.diagram.captions import visible
from choreo.diagram.picture import EventKind, Picture
from choreo.handler import Kind
from choreo.svg.cards import ICON, NOTE_PX, PAD, TITLE_MIDDLE, Card, Side, text_width
from choreo.svg.layout import LANE_TITLE, MARGIN, Box, Drawing, Lane, Line, Link, drawing
from choreo.svg.strokes import BASELINE, arrow, number, sign, stroke
from choreo.svg.stylesheet import sheet

_UNDER = ("fact", "undoing", "failure")
"""Which lines lie below which."""


def svg(choreography: Choreography) -> str:
    """Return an SVG document: a lane for each service, steps from left to right, what undoes them below."""
    picture = Picture(choreography)
    drawn = drawing(picture)
    entries, below = legend(drawn, picture)
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
        *entries,
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
        yield sign(name, PAD + 5, TITLE_MIDDLE)
    x = PAD + (ICON if name else 0)
    yield f'<text class="title" x="{x}" y="{number(TITLE_MIDDLE + BASELINE)}">{escape(card.title)}</text>'
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


SAMPLE = 26
SIGN = 12
BETWEEN = 22
LINE_HEIGHT = 22
_OTHERWISE_SAMPLE = '<rect class="instead" y="-5" width="12" height="10" rx="2"/>'


class LegendEntry(NamedTuple):
    """One thing explained."""

    sample: str  # Its markup, from x = 0 on.
    width: int  # How wide that is, in pixels.
    text: str  # What it means.


def legend(drawn: Drawing, picture: Picture) -> tuple[list[str], float]:
    """Return the markup of the legend, in as many lines as it needs, and how high that is in pixels."""
    parts: list[str] = []
    x, y = 2.0 * MARGIN, drawn.height + MARGIN / 2
    for sample, width, text in _entries(drawn, picture):
        needed = width + 8 + text_width(text, NOTE_PX)
        if x + needed > drawn.width - MARGIN and parts:
            x, y = 2.0 * MARGIN, y + LINE_HEIGHT
        parts.append(
            f'<g transform="translate({number(x)},{number(y)})">{sample}'
            f'<text class="legend" x="{width + 8}" y="{BASELINE}">{escape(text)}</text></g>'
        )
        x += needed + BETWEEN
    return parts, y - drawn.height + LINE_HEIGHT


def _entries(drawn: Drawing, picture: Picture) -> Iterator[LegendEntry]:
    looks = {line.net.look for line in drawn.lines}
    cards = [box.card for box in drawn.boxes]
    rows = [row for card in cards for row in card.rows]
    kinds = {card.kind for card in cards}
    events = {picture.kind(row.event) for row in rows}
    timed = Kind.DEADLINE in kinds or any(row.later for row in rows)
    everything = (
        ("fact" in looks, _sample("fact"), SAMPLE, "sets going"),
        ("failure" in looks, _sample("failure"), SAMPLE, "failure"),
        ("undoing" in looks, _sample("undoing"), SAMPLE, "undone"),
        (EventKind.COMPLETES in events, sign("completes", 6, 0), SIGN, "completes the saga"),
        (EventKind.FAILS in events, sign("fails", 6, 0), SIGN, "fails the saga"),
        (any(len(card.ports) > 1 for card in cards), '<path class="join" d="M6,-5V5"/>', SIGN, "joins: waits for all"),
        (any(row.opens for row in rows), sign("fan-out", 6, 0), SIGN, "opens branches"),
        (any(card.gathers is not None for card in cards), sign("fan-in", 6, 0), SIGN, "one from each branch"),
        (timed, sign("clock", 6, 0), SIGN, "after a time"),
        (Kind.COMPENSATION in kinds, sign("undoing", 6, 0), SIGN, "undoes the step above"),
        (Kind.OTHERWISE in kinds, _OTHERWISE_SAMPLE, SIGN, "when retries are spent"),
    )
    return (LegendEntry(sample, width, text) for occurs, sample, width, text in everything if occurs)


def _sample(look: str) -> str:
    return f'<g class="{look}">{arrow(((0, 0), (SAMPLE, 0)))}</g>'
