"""Printing: tables and JSON on standard output; logs, notes and progress on standard error.

How things look in a terminal lives here, states with their icons and colours among it; what is printed does not.
Every command prints through this.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

F = TypeVar("F", bound=Callable[..., Any])
PLAIN_COLUMNS = 200
QUICK_S = 1.0
"""Work that is done by then shows no progress."""

# Icon and colour of each word; the word is always printed beside them, for those who see neither.
STYLES = {
    "started": ("●", "cyan"),
    "pending": ("◌", "cyan"),
    "compensating": ("↶", "yellow"),
    "completed": ("✔", "green"),
    "failed": ("✘", "red"),
    "executing": ("▶", "blue"),
    "retrying": ("↻", "yellow"),
    "skipped": ("⊘", "bright_black"),
    "parked": ("⏸", "magenta"),
    "compensated": ("↩", "yellow"),
    "stuck": ("⚠", "magenta"),
    "overdue": ("⧗", "magenta"),
    "violation": ("‼", "red"),
    "differs": ("≠", "red"),
    "retried": ("↻", "yellow"),
    "resumed": ("▶", "blue"),
    "resolved": ("✔", "green"),
    "refused": ("✘", "red"),
    "redriven": ("▶", "blue"),
    "dropped": ("⊘", "bright_black"),
    "dead-lettered": ("‼", "red"),
    "duplicate-differs": ("≠", "red"),
}


def json_option(command: F) -> F:
    """Give a command `--json`; it gets it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(value: object) -> None:
    """Print one JSON value on one line."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def heading(word: str, colour: str, title: str, text: str) -> str:
    """Return how what is found begins: a word in its colour, whose it is or its code, and what is said of it."""
    return f"{click.style(word, fg=colour, bold=True)}  {click.style(title, bold=True)}  {text}"


def note(text: str) -> None:
    """Print something that is no data, on standard error."""
    click.echo(text, err=True)


def console() -> Console:
    """Return a console on standard output; wide enough for whole lines where that is no terminal."""
    terminal = sys.stdout.isatty()
    return Console(
        file=sys.stdout,
        highlight=False,
        emoji=False,
        width=None if terminal else PLAIN_COLUMNS,
        soft_wrap=not terminal,
        color_system="auto" if terminal and not os.environ.get("NO_COLOR") else None,
    )


def styled(word: str) -> Text:
    """Return a state, status or flag as icon, word and colour."""
    icon, colour = STYLES.get(str(word), ("·", "default"))
    return Text(f"{icon} {word}", style=colour)


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table; `numbers` are the titles whose columns are aligned right."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, justify="right" if title in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text("" if cell is None else str(cell)) for cell in row))
    console().print(table)


@contextmanager
def progress(
    title: str, total: int | None, *, hidden: bool = False, on: Console | None = None
) -> Iterator[Callable[[int], None]]:
    """Show how far work has come, on a terminal's standard error, once it has taken longer than `QUICK_S`.

    Yields what counts so many more as done. `hidden` shows nothing where standard output is a terminal, too: the data
    printed there would run into it.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=on or Console(stderr=True),
        transient=True,
        # What is printed meanwhile is data, and stays on standard output.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task(title, total=total)
    wanted = bar.console.is_terminal and not (hidden and sys.stdout.isatty())
    quick_until = time.monotonic() + QUICK_S

    def advance(count: int) -> None:
        bar.advance(task, count)
        if wanted and not bar.live.is_started and time.monotonic() >= quick_until:
            bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


def counted(number: int, thing: str) -> str:
    """Return how many there are of a thing, such as `1 crash` or `1,200 crashes`."""
    plural = f"{thing}es" if thing.endswith(("h", "s")) else f"{thing}s"
    return f"{number:,} {thing if number == 1 else plural}"


def printable(text: str) -> str:
    """Return a text from elsewhere with its control characters escaped, which a terminal would obey."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def moment(at: datetime | None) -> str:
    """Return a time as people read it: local, to the millisecond; "" for none."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if at is not None else ""


def span(seconds: float) -> str:
    """Return a length of time in its two largest units, such as `3 min 20 s`."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 10:  # noqa: PLR2004 - short ones want a decimal place
        return f"{seconds:.1f} s"
    parts = []
    left = int(seconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(level: str, *, as_json: bool = False) -> None:
    """Send logs of this level and above to standard error, for people or one JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s")
    )
    logging.basicConfig(level=level, handlers=[handler])
