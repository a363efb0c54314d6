"""The boxes of a drawing: what is written on them, where lines meet them, how large they are.

One card is one step with the events it may emit, or a source of events. Its text and measures live here, in pixels;
where it stands does not (`grid`).
"""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from choreo.choreography import Node
from choreo.diagram.captions import duration, visible
from choreo.diagram.picture import Origin, Picture, kind_of
from choreo.handler import Kind

TITLE_PX = 13
EVENT_PX = 12
NOTE_PX = 11
ADVANCE = 0.62
"""Widest advance of a character in any common monospaced font, in units of its size."""
PAD = 12
ICON = 18
TITLE_HEIGHT = 30
TITLE_MIDDLE = 15
"""How far below the top of a card the middle of its title is."""
NOTE_HEIGHT = 15
ROW_HEIGHT = 20
FOOT = 5
# What meets a card on its right is a multiple of ten below its top and what meets it on its left is five more, so that
# lines into two cards that face each other never lie on each other.
PORT_STEP = 10
SHIFT = 5
NOTE_CHARS_MAX = 26


class Side(StrEnum):
    """Where on a card a line meets it."""

    LEFT = "left"
    RIGHT = "right"


class Row(NamedTuple):
    """One event that a step may emit."""

    event: str  # Its full name.
    label: str  # What is written.
    opens: bool = False  # It begins a branch.
    later: bool = False  # It is to come later.


@dataclass(frozen=True, slots=True, eq=False)
class Card:
    """One box."""

    name: str  # `service.handler`, or the name of a source.
    service: str  # Its lane.
    column: int  # Its column, from 0.
    kind: Kind | None  # What its step is for; None where it is a source of events.
    title: str  # What is written first.
    notes: tuple[str, ...]  # Small lines below it.
    # What sets it going: for each point where lines meet it the events that may come there.
    ports: tuple[tuple[str, ...], ...]
    rows: tuple[Row, ...]  # What it emits.
    gathers: int | None = None  # Which of the ports takes one event from each branch.
    host: str = ""  # The card below which it stands, because it undoes it or stands in for it; "" for none.

    @property
    def enters(self) -> Side:
        """Return where what sets it going comes in: undoing runs from right to left."""
        return Side.RIGHT if self.kind is Kind.COMPENSATION else Side.LEFT

    @property
    def leaves(self) -> Side:
        """Return where its events go out."""
        return Side.LEFT if self.kind is Kind.COMPENSATION else Side.RIGHT

    @property
    def width(self) -> float:
        """Return how wide its text makes it."""
        title = ICON + text_width(self.title, TITLE_PX)
        notes = [text_width(each, NOTE_PX) for each in self.notes]
        rows = [ICON + text_width(row.label, EVENT_PX) + ICON * (row.opens or row.later) for row in self.rows]
        return 2 * PAD + max([title, *notes, *rows])

    def note_y(self, place: int) -> float:
        """Return how far below its top the middle of a note is."""
        return TITLE_HEIGHT + NOTE_HEIGHT * (place + 0.5) + 2

    @property
    def rows_top(self) -> float:
        """Return where its events begin."""
        notes = PORT_STEP * math.ceil(NOTE_HEIGHT * len(self.notes) / PORT_STEP)
        return TITLE_HEIGHT + notes + (SHIFT if self.leaves is Side.LEFT else 0)

    @property
    def height(self) -> float:
        """Return how high its text and its ports make it."""
        return max(self.rows_top + ROW_HEIGHT * len(self.rows) + FOOT, self.port_y(len(self.ports)))

    def port_y(self, place: int) -> float:
        """Return how far below its top a port is."""
        return TITLE_MIDDLE + PORT_STEP * place + (SHIFT if self.enters is Side.RIGHT else 0)

    def row_y(self, place: int) -> float:
        """Return how far below its top the middle of an event's row is."""
        return self.rows_top + ROW_HEIGHT * place + ROW_HEIGHT / 2


def text_width(text: str, size_px: float) -> float:
    """Return how wide a monospaced text is at most, in pixels."""
    cells = 0
    for each in text:
        wide = unicodedata.east_asian_width(each) in "WF"
        cells += 0 if unicodedata.combining(each) else 2 if wide else 1
    return cells * ADVANCE * size_px


def cards(picture: Picture) -> list[Card]:
    """Return a card for each source and each step, in the order of the picture."""
    made = [_source(picture, source) for source in picture.origins]
    return made + [_step(picture, step) for step in picture.steps]


def _source(picture: Picture, source: Origin) -> Card:
    taken = [picture.columns[step.name] for name in source.events for step in picture.takers(name)]
    title = source.by if source.service else "from none of these services"
    if source.starts:
        title = "starts " + " and ".join(_started(picture, source))
    return Card(
        name=f"source {source.service} {source.by} {source.starts}",
        service=source.service,
        column=0 if source.starts or not source.service or not taken else min(taken),
        kind=None,
        title=visible(title) or "from outside",
        notes=(),
        ports=(),
        rows=tuple(Row(name, visible(picture.label(name))) for name in source.events),
    )


def _started(picture: Picture, source: Origin) -> Iterator[str]:
    return (name for name, owned in picture.choreography.sagas.items() if owned.starts in source.events)


def _step(picture: Picture, step: Node) -> Card:
    handler = step.handler
    opens, later = step.opens, step.delays
    guarded, host = step.guarded, picture.host(step)
    ports = [handler.causes] if kind_of(step) is Kind.COMPENSATION else [] if guarded is not None else handler.waits_for
    return Card(
        name=step.name,
        service=step.service,
        column=picture.columns[step.name] + 1,
        kind=kind_of(step),
        title=visible(handler.name),
        notes=tuple(_notes(picture, step)),
        ports=tuple(tuple(types) for types in ports),
        gathers=handler.gathers if guarded is None else None,
        rows=tuple(
            Row(name, visible(picture.label(name)), opens=name in opens, later=name in later) for name in handler.emits
        ),
        host=host.name if host is not None else "",
    )


def _notes(picture: Picture, step: Node) -> Iterator[str]:
    handler = step.handler
    if kind_of(step) is Kind.COMPENSATION:
        yield from _listed("undoes", picture, handler.original)
    if kind_of(step) is Kind.DEADLINE:
        yield from _listed(f"{duration(handler.within_s)} without", picture, handler.awaits)
    if handler.unless:
        yield from _listed("unless", picture, handler.unless)
    if handler.guards:
        yield f"when {visible(handler.guards)} gives up"


def _listed(first: str, picture: Picture, names: Sequence[str]) -> Iterator[str]:
    """Return words and the events they are about as lines of about one length."""
    line = first
    for place, name in enumerate(names):
        word = visible(picture.label(name)) + ("," if place + 1 < len(names) else "")
        if line != "" and len(line) + 1 + len(word) > NOTE_CHARS_MAX:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line
