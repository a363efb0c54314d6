"""A progress bar for what takes a while.

When one appears and where lives here; what is counted does not. Commands that read or write many records use it, so
that quick work prints nothing and long work never looks stuck.
"""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

QUICK_S = 1.0
"""Work that is done by then shows no bar."""


class Bar:
    """Counts work on a terminal's standard error once it has taken more than a second; use it as a block.

    Args:
        title: What is being done, such as "reading".
        total: How much there is; None where nobody knows.
        quiet: Standard output is read on the same terminal, so that a bar would run into it.
        console: Where it appears; standard error unless given.
        now: Seconds that pass.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        *,
        quiet: bool = False,
        console: "Console | None" = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._total = total
        self._quiet = quiet and sys.stdout.isatty()
        self._console = console
        self._now = now
        self._done = 0
        self._began = now()
        self._shown: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> Self:
        self._began = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown[0].stop()

    def advance(self, count: int = 1) -> None:
        """Count so much more as done."""
        self._done += count
        if self._shown is not None:
            progress, task = self._shown
            progress.update(task, completed=self._done)
        elif not self._quiet and self._now() - self._began >= QUICK_S:
            self._show()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = self._console or Console(stderr=True)
        if not console.is_terminal:
            # A log that is read later has no use for a bar that moves.
            self._quiet = True
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # What is printed meanwhile is data, and stays on standard output.
        progress = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
        task = progress.add_task(self._title, total=self._total, completed=self._done)
        progress.start()
        self._shown = progress, task
