"""What the lines and signs of a drawing mean, below it.

Only what occurs in the drawing is explained.
"""

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from choreo.diagram.drawing.card import NOTE_PX, text_width
from choreo.diagram.drawing.ink import BASELINE, arrow, number, sign
from choreo.diagram.drawing.layout import Drawing
from choreo.diagram.drawing.page import MARGIN
from choreo.diagram.picture import EventKind, Picture
from choreo.handler import Kind

SAMPLE = 26
SIGN = 12
BETWEEN = 22
LINE_HEIGHT = 22
_BOX = '<rect class="instead" y="-5" width="12" height="10" rx="2"/>'


class Meaning(NamedTuple):
    """One thing explained.

    Attributes:
        sample: Its markup, from x = 0 on.
        width: How wide that is, in pixels.
        text: What it means.
    """

    sample: str
    width: int
    text: str


def legend(drawn: Drawing, picture: Picture) -> tuple[list[str], float]:
    """Return the markup of the legend, in as many lines as it needs, and how high that is in pixels."""
    parts: list[str] = []
    x, y = 2.0 * MARGIN, drawn.height + MARGIN / 2
    for sample, width, text in _meanings(drawn, picture):
        needed = width + 8 + text_width(text, NOTE_PX)
        if x + needed > drawn.width - MARGIN and parts:
            x, y = 2.0 * MARGIN, y + LINE_HEIGHT
        parts.append(
            f'<g transform="translate({number(x)},{number(y)})">{sample}'
            f'<text class="legend" x="{width + 8}" y="{BASELINE}">{escape(text)}</text></g>'
        )
        x += needed + BETWEEN
    return parts, y - drawn.height + LINE_HEIGHT


def _meanings(drawn: Drawing, picture: Picture) -> Iterator[Meaning]:
    looks = {line.net.look for line in drawn.lines}
    cards = [box.card for box in drawn.boxes]
    rows = [row for card in cards for row in card.rows]
    kinds = {card.kind for card in cards}
    events = {picture.kind(row.event) for row in rows}
    timed = Kind.DEADLINE in kinds or any(row.later for row in rows)
    everything = (
        ("fact" in looks, _line("fact"), SAMPLE, "sets going"),
        ("failure" in looks, _line("failure"), SAMPLE, "failure"),
        ("undoing" in looks, _line("undoing"), SAMPLE, "undone"),
        (EventKind.COMPLETES in events, sign("completes", 6, 0), SIGN, "completes the saga"),
        (EventKind.FAILS in events, sign("fails", 6, 0), SIGN, "fails the saga"),
        (any(len(card.ports) > 1 for card in cards), '<path class="join" d="M6,-5V5"/>', SIGN, "joins: waits for all"),
        (any(row.opens for row in rows), sign("fan-out", 6, 0), SIGN, "opens branches"),
        (any(card.gathers is not None for card in cards), sign("fan-in", 6, 0), SIGN, "one from each branch"),
        (timed, sign("clock", 6, 0), SIGN, "after a time"),
        (Kind.COMPENSATION in kinds, sign("undoing", 6, 0), SIGN, "undoes the step above"),
        (Kind.OTHERWISE in kinds, _BOX, SIGN, "when retries are spent"),
    )
    return (Meaning(sample, width, text) for occurs, sample, width, text in everything if occurs)


def _line(look: str) -> str:
    return f'<g class="{look}">{arrow(((0, 0), (SAMPLE, 0)))}</g>'
