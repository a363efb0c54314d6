"""Where rows, columns and the ways between them are on the page, in pixels.

How wide each channel and how high each gap must be for its tracks lives here; what is drawn there does not
(`layout`).
"""

from dataclasses import dataclass, field

from choreo.diagram.drawing.card import text_width
from choreo.diagram.drawing.grid import Grid
from choreo.diagram.drawing.weaving import Weave

TRACK = 9
CHANNEL_MIN = 34
CHANNEL_PAD = 13
GAP_MIN = 26
GAP_PAD = 10
LANE_TITLE = 30
LANE_TITLE_PX = 13
GUTTER = 10
MARGIN = 14


@dataclass(frozen=True, slots=True)
class Lane:
    """A service's lane, from top to bottom; it is as wide as the page."""

    service: str
    top: float
    bottom: float


@dataclass(slots=True)
class Page:
    """The page.

    Args:
        grid: What stands where.
        weave: How many tracks there are.

    Attributes:
        channels: The middle of each channel.
        columns: Left edge and width of each column.
        gaps: The top of the first track in each gap.
        rows: The top of each row.
        lanes: From top to bottom.
        width: In pixels.
        height: In pixels.
    """

    grid: Grid
    weave: Weave
    channels: list[float] = field(default_factory=list)
    columns: list[tuple[float, float]] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    width: float = 0
    height: float = 0

    def __post_init__(self) -> None:
        self._lay_across()
        self._lay_down()

    def down(self, channel: int, track: int) -> float:
        """Return where a track of a channel is, from the left."""
        return self.channels[channel] + TRACK * (track - (self.weave.channels[channel] - 1) / 2)

    def across(self, gap: int, track: int) -> float:
        """Return where a track of a gap is, from the top."""
        return self.gaps[gap] + TRACK * (track + 0.5)

    def _lay_across(self) -> None:
        x = float(MARGIN)
        for column in range(self.grid.columns + 1):
            count = self.weave.channels[column]
            outer = column in {0, self.grid.columns} and not count
            channel = CHANNEL_PAD if outer else max(CHANNEL_MIN, 2 * CHANNEL_PAD + TRACK * count)
            self.channels.append(x + channel / 2)
            x += channel
            if column < self.grid.columns:
                width = max(card.width for card, _ in self.grid.places.values() if card.column == column)
                self.columns.append((x, width))
                x += width
        titles = [2 * MARGIN + text_width(service, LANE_TITLE_PX) for service, _, _ in self.grid.lanes]
        self.width = max([x, *titles]) + MARGIN

    def _lay_down(self) -> None:
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
        self.height = y

    def _tracks(self, gap: int) -> float:
        return TRACK * self.weave.gaps[gap]
