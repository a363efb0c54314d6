"""The demo's own run: start everything, place orders, show, drain, add up.

The order of these and the ending by Ctrl-C or by time live here; the screen, the rows and the sums do not, nor what
they run on (`stage`). `choreo demo` calls `main`.
"""

import asyncio
import contextlib
import logging
import os
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live

from choreo import Publisher, SagaState
from choreo.tracker import Tracker
from choreo.transport import Transport

from ..events import OrderPlaced
from ..order import orders
from ..order.place import place
from ..order.purchases import orders_from, read_purchases
from .feed import Feed
from .screen import Row, Snapshot, plain_lines, screen, summary_screen
from .stage import Stage, stage
from .summary import Books, account

SAGA_TYPE = "order-fulfilment"
RATE = 20.0
DRAIN_S_MAX = 10.0
FRAME_S = 0.4
PLAIN_EVERY_S = 2.0
RATE_WINDOW_S = 5.0
LATEST_SAGAS = 20
UNDER_WAY_MAX = 500
"""Orders that may be under way at once: what the embedded broker finishes well within the drain."""
WARNINGS_MAX = 5
INTERRUPTED = 130

Show = Callable[[Snapshot], None]


def main(seconds: float | None = None, rate: float = RATE) -> int:
    """Run the demo until Ctrl-C or for a time; then drain and print the account.

    Args:
        seconds: How long orders are placed; until Ctrl-C if None.
        rate: Orders a second.

    Returns:
        The exit code: 0 if everything adds up, else 1.

    Raises:
        ChoreoError: If a service could not start, or ended by itself.
    """
    with tempfile.TemporaryDirectory(prefix="choreo-demo-") as folder, _environment("SERVICES_DATA", folder):
        try:
            return asyncio.run(Demo(Path(folder), seconds, rate, Console()).run())
        except KeyboardInterrupt:
            return INTERRUPTED


class Demo:
    """One run.

    Args:
        data: Where the services and the tracker keep their files.
        seconds: How long to place orders; None until Ctrl-C.
        rate: Orders a second.
        console: Where to show it; a terminal gets the screen, anything else plain lines.
    """

    def __init__(self, data: Path, seconds: float | None, rate: float, console: Console) -> None:
        self._data = data
        self._seconds = seconds
        self._rate = rate
        self._console = console
        self._purchases = read_purchases()
        self._placed: list[OrderPlaced] = []
        self._feed = Feed()
        self._rested: deque[tuple[float, int]] = deque()
        self._at_rest = 0
        self._began = time.monotonic()
        self._told = 0

    async def run(self) -> int:
        """Start, place, show, drain and add up; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._tell)
        with _warnings_kept() as warnings, self._showing() as show:
            show(Snapshot(phase="starting"))
            async with stage(self._data) as on:
                self._began = time.monotonic()
                stop = threading.Event()
                placing = asyncio.create_task(asyncio.to_thread(self._place, on.transport, stop))
                try:
                    await self._watch(on, show, placing)
                finally:
                    stop.set()
                    await placing
                await self._drain(on, show)
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.remove_signal_handler(number)
                counts = await asyncio.to_thread(on.tracker.counts)
        elapsed_s = time.monotonic() - self._began
        lines = account(self._placed, self._purchases, counts.get(SAGA_TYPE, {}), Books.read(self._data))
        self._console.print(summary_screen(lines, elapsed_s, warnings))
        return 0 if all(line.holds for line in lines) else 1

    def _tell(self) -> None:
        """Take a Ctrl-C: the first stops placing, the second stops waiting."""
        self._told += 1

    def _place(self, transport: Transport, stop: threading.Event) -> None:
        with Publisher(orders, transport=transport) as publisher:
            place(publisher, self._source(stop), self._rate, stop, self._placed.extend)

    def _source(self, stop: threading.Event) -> Iterator[OrderPlaced]:
        for order in orders_from(self._purchases):
            while len(self._placed) - self._at_rest > UNDER_WAY_MAX and not stop.wait(FRAME_S / 4):
                pass
            yield order

    async def _watch(self, on: Stage, show: Show, placing: asyncio.Task[None]) -> None:
        phase = f"placing {self._rate:g} a second" if self._rate else "placing as fast as it goes"
        while not self._told and not on.fallen.done() and not placing.done():
            elapsed_s = time.monotonic() - self._began
            if self._seconds is not None and elapsed_s >= self._seconds:
                break
            show(await self._snapshot(on, phase))
            await asyncio.sleep(FRAME_S)

    async def _drain(self, on: Stage, show: Show) -> None:
        """Wait until every order is at rest and its customer told, at most `DRAIN_S_MAX` seconds."""
        until = time.monotonic() + DRAIN_S_MAX
        told = self._told
        while time.monotonic() < until and not on.fallen.done() and self._told <= max(told, 1):
            show(await self._snapshot(on, "draining"))
            if self._at_rest == len(self._placed):
                messages = await asyncio.to_thread(lambda: Books.read(self._data).messages)
                if messages >= len(self._placed):
                    break
            await asyncio.sleep(FRAME_S / 2)
        if on.fallen.done():
            await on.fallen

    async def _snapshot(self, on: Stage, phase: str) -> Snapshot:
        counted, rows = await asyncio.to_thread(self._ask, on.tracker)
        now = time.monotonic()
        self._at_rest = counted.get(SagaState.COMPLETED, 0) + counted.get(SagaState.FAILED, 0)
        self._rested.append((now, self._at_rest))
        while now - self._rested[0][0] > RATE_WINDOW_S:
            self._rested.popleft()
        since, rested = self._rested[0]
        return Snapshot(
            phase=phase,
            elapsed_s=now - self._began,
            placed=len(self._placed),
            counts=counted,
            rate=(self._at_rest - rested) / (now - since) if now > since else 0.0,
            rows=rows,
        )

    def _ask(self, tracker: Tracker) -> tuple[Mapping[SagaState, int], Sequence[Row]]:
        again = [saga for key in self._feed.unsettled() if (saga := tracker.find(SAGA_TYPE, key)) is not None]
        rows = self._feed.take(tracker.sagas(type=SAGA_TYPE, limit=LATEST_SAGAS).items, again)
        return tracker.counts().get(SAGA_TYPE, {}), rows

    @contextlib.contextmanager
    def _showing(self) -> Iterator[Show]:
        if not self._console.is_terminal:
            yield _Plain(self._console)
            return
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            yield lambda snapshot: live.update(screen(snapshot, *self._console.size), refresh=True)


class _Plain:
    """Says how it goes in lines, every now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def __call__(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PLAIN_EVERY_S
            for line in plain_lines(snapshot):
                print(line, file=self._console.file, flush=True)


class _Kept(logging.Handler):
    """Keeps warnings, so that they are read below the summary instead of breaking the screen."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: deque[str] = deque(maxlen=WARNINGS_MAX)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextlib.contextmanager
def _warnings_kept() -> Iterator[Sequence[str]]:
    log = logging.getLogger("choreo")
    kept = _Kept()
    log.addHandler(kept)
    try:
        yield kept.texts
    finally:
        log.removeHandler(kept)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
