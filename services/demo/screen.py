"""What the demo shows: one calm screen, or plain lines where there is no terminal.

Only layout lives here: plain data in, rich renderables and text out. The demo fills a `Snapshot` a few times a second;
nothing here knows brokers, services or the tracker's store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from choreo import SagaState

from .summary import Line

STEPS = ("reserve", "capture", "address", "ship", "confirm", "notice")
MARKS = {
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
    "undone": ("↩", "yellow"),
    "undoing": ("↩", "bright_yellow"),
    "skipped": ("○", "dim"),
    "moving": ("●", "cyan"),
    "parked": ("!", "red"),
    "waiting": ("·", "dim"),
}
LEGEND = ("done", "failed", "undone", "skipped", "waiting")
STATES: Mapping[SagaState, tuple[str, str]] = {
    SagaState.COMPLETED: ("✓", "green"),
    SagaState.FAILED: ("✗", "red"),
    SagaState.COMPENSATING: ("↩", "yellow"),
    SagaState.PENDING: ("●", "cyan"),
    SagaState.STARTED: ("●", "cyan"),
}
COUNTED = (SagaState.COMPLETED, SagaState.FAILED, SagaState.COMPENSATING, SagaState.PENDING)
BANNER = (
    "Five services and no orchestrator: each knows only the events it hears and says. The broker is embedded: "
    "in memory, at least once, gone when this ends. On a real Kafka the same services run exactly-once."
)
WIDTH_MAX = 124
WIDTH_WIDE = 100
"""From here on there is room for the reasons, and air between the columns."""
CHROME_LINES = 17
"""Lines of the screen that are not rows of the table."""


class Row(NamedTuple):
    """One saga on the screen.

    Attributes:
        marks: Names of `MARKS`, by step.
        reason: Why it failed, "" where it didn't.
    """

    order_id: str
    amount: str
    state: SagaState
    marks: Mapping[str, str]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that one frame shows.

    Attributes:
        phase: What is going on, in a word or two.
        elapsed_s: Since the first order.
        placed: Orders placed so far.
        counts: Sagas by state.
        rate: Orders that came to rest a second, of late.
        rows: The latest sagas, newest first.
    """

    phase: str
    elapsed_s: float = 0.0
    placed: int = 0
    counts: Mapping[SagaState, int] = field(default_factory=dict)
    rate: float = 0.0
    rows: Sequence[Row] = ()

    def count(self, state: SagaState) -> int:
        """Return how many sagas are in a state; one that has only started counts as under way."""
        extra = self.counts.get(SagaState.STARTED, 0) if state is SagaState.PENDING else 0
        return self.counts.get(state, 0) + extra


def rows_that_fit(width: int, height: int) -> int:
    """Return how many rows a terminal of this size has room for."""
    return max(3, height - CHROME_LINES - (width < WIDTH_WIDE))


def screen(snapshot: Snapshot, width: int, height: int) -> RenderableType:
    """Return one frame.

    Args:
        snapshot: What to show.
        width: Of the terminal, in columns.
        height: Of the terminal, in lines.
    """
    inner = min(width, WIDTH_MAX) - 4
    parts: list[RenderableType] = [
        _header(snapshot, inner),
        Text(BANNER, style="dim"),
        Text(),
        _counts(snapshot, inner),
        _bar(snapshot, inner),
        Text(),
        _table(snapshot.rows[: rows_that_fit(width, height)], inner),
        Text(),
        _footer(snapshot),
    ]
    return Padding(Group(*parts), (1, 2), expand=False)


def _header(snapshot: Snapshot, width: int) -> Text:
    left = Text.assemble(("choreo demo", "bold"), ("   order fulfilment", "dim"))
    right = f"{snapshot.phase}   {clock(snapshot.elapsed_s)}"
    gap = " " * max(2, width - left.cell_len - len(right))
    return Text.assemble(left, gap, (right, "dim"), "\n", ("─" * width, "dim"))


def _counts(snapshot: Snapshot, width: int) -> Text:
    gap = " " * (6 if width > WIDTH_WIDE else 2)
    text = Text.assemble((f"{snapshot.placed:,}", "bold"), " placed")
    for state in COUNTED:
        icon, style = STATES[state]
        number = snapshot.count(state)
        text.append(f"{gap}{icon} ", style=style if number else "dim")
        text.append(f"{number:,}", style="bold" if number else "dim")
        text.append(f" {_word(state)}", style="" if number else "dim")
    return text


def _bar(snapshot: Snapshot, width: int) -> Text:
    total = max(snapshot.placed, sum(snapshot.count(state) for state in COUNTED))
    text = Text()
    used = 0
    for state in COUNTED:
        number = snapshot.count(state)
        # Whatever there is of a state can be seen, if only as one cell.
        cells = min(max(1, round(width * number / total)), width - used) if number and total else 0
        text.append("━" * cells, style=STATES[state][1])
        used += cells
    return text.append("━" * (width - used), style="bright_black")


def _table(rows: Sequence[Row], width: int) -> Table:
    wide = width > WIDTH_WIDE
    padding = (0, 1 if wide else 0, 0, 0)
    table = Table(
        box=box.SIMPLE_HEAD, width=width, pad_edge=False, padding=padding, header_style="dim", show_edge=False
    )
    table.add_column("", no_wrap=True, width=1)
    table.add_column("order", no_wrap=True, min_width=6)
    table.add_column("amount", justify="right", no_wrap=True, min_width=7)
    for step in STEPS:
        table.add_column(step, justify="center", no_wrap=True, min_width=7)
    table.add_column("", no_wrap=True, ratio=1, overflow="ellipsis")
    for row in rows:
        icon, style = STATES[row.state]
        outcome = Text(_word(row.state))
        if row.reason and wide:
            outcome.append(f"  {row.reason}", style="dim")
        marks = [MARKS[row.marks.get(step, "waiting")] for step in STEPS]
        steps = (Text(mark, style=colour) for mark, colour in marks)
        table.add_row(Text(icon, style=style), row.order_id, row.amount, *steps, outcome)
    return table


def _footer(snapshot: Snapshot) -> Text:
    legend = Text()
    for name in LEGEND:
        mark, style = MARKS[name]
        legend.append(mark, style=style).append(f" {name}   ", style="dim")
    unseen = max(0, snapshot.placed - sum(snapshot.counts.values()))
    behind = f", the tracker has yet to hear of {unseen:,} placed" if unseen else ""
    tail = f"{snapshot.rate:.0f} orders a second come to rest{behind}"
    hint = "Ctrl-C stops placing, lets every order come to rest and adds everything up."
    return Text.assemble(legend, "\n", (tail, "dim"), "\n", (hint, "dim"))


def summary_screen(lines: Sequence[Line], elapsed_s: float, warnings: Sequence[str] = ()) -> RenderableType:
    """Return the closing account.

    Args:
        lines: What must add up.
        elapsed_s: How long orders were placed and drained, in seconds.
        warnings: What was logged meanwhile.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for line in lines:
        mark, style = ("✓", "green") if line.holds else ("✗", "red")
        table.add_row(Text(mark, style=style), Text(line.label, style="bold"), line.sum)
    good = all(line.holds for line in lines)
    verdict = Text("Every order is accounted for." if good else "This does not add up.", style="bold")
    logged = [Text(f"logged: {text}", style="dim") for text in warnings]
    after = Text(f"after {clock(elapsed_s)}", style="dim")
    return Padding(Group(verdict, after, Text(), table, *logged), (1, 2), expand=False)


def plain_lines(snapshot: Snapshot) -> list[str]:
    """Return what is said where there is no terminal: one line of counts, then the latest saga with its steps."""
    counts = "  ".join(f"{_word(state)} {snapshot.count(state)}" for state in COUNTED)
    lines = [f"{clock(snapshot.elapsed_s)}  placed {snapshot.placed}  {counts}  {snapshot.rate:.0f} a second"]
    for row in snapshot.rows[:1]:
        steps = "  ".join(f"{step} {MARKS[row.marks[step]][0]}" for step in STEPS if step in row.marks)
        reason = f": {row.reason}" if row.reason else ""
        lines.append(f"       order {row.order_id}  {row.amount}  {steps}  {_word(row.state)}{reason}")
    return lines


def _word(state: SagaState) -> str:
    return "under way" if state in {SagaState.STARTED, SagaState.PENDING} else state.value


def clock(elapsed_s: float) -> str:
    """Return seconds as minutes and seconds."""
    minutes, seconds = divmod(int(elapsed_s), 60)
    return f"{minutes:02}:{seconds:02}"
