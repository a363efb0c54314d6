"""A thread that looks at a service from outside: is its batch in flight too long, and is its event loop blocked?

Noticing both, naming the handler and ending a process that hangs live here; the loop that is watched does not. The
worker starts one and tells it when a batch begins and ends.
"""

import asyncio
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from types import CodeType, FrameType

from choreo.handler import Handler

WATCH_EVERY_S = 1.0
BLOCKED_S = 1.0
"""How long the event loop may not answer before somebody is told."""
EXIT_STUCK = 70
_log = logging.getLogger("choreo")


class Watchdog:
    """Watches one service.

    Args:
        name: The service.
        handlers: Its handlers, to be told apart by their code.
        counts: Counts `blocked`, how often a handler was found blocking the loop.
        batch_s_max: Seconds that a batch may be in flight before the process ends itself: whatever it holds goes to
            another worker, uncommitted.
        exit_process: Ends the process; replaced in tests.
    """

    def __init__(
        self,
        name: str,
        handlers: Iterable[Handler],
        counts: Counter[str],
        *,
        batch_s_max: float,
        exit_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._name = name
        self._steps = {code: each for each in handlers if (code := _code(each)) is not None}
        self._counts = counts
        self._batch_s_max = batch_s_max
        self._exit = exit_process
        self._since: float | None = None
        self._stopped = threading.Event()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch a loop, which runs on the calling thread."""
        ident = threading.get_ident()
        threading.Thread(target=self._run, args=(loop, ident), name=f"watch-{self._name}", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()

    def begin(self) -> None:
        """A batch is in flight."""
        self._since = time.monotonic()

    def done(self) -> None:
        """It is committed, or given up."""
        self._since = None

    def _run(self, loop: asyncio.AbstractEventLoop, ident: int) -> None:
        while not self._stopped.wait(WATCH_EVERY_S):
            since = self._since
            if since is None:
                continue
            if time.monotonic() - since > self._batch_s_max:
                _log.critical(
                    "%s: a batch is in flight for over %.0f s (batch_timeout_s): a handler hangs. Ending the process.",
                    self._name,
                    self._batch_s_max,
                )
                self._exit(EXIT_STUCK)
                return
            self._check_loop(loop, ident)

    def _check_loop(self, loop: asyncio.AbstractEventLoop, ident: int) -> None:
        """Schedule a callback on the loop; if it does not run in time, log the handler that blocks the loop."""
        answered = threading.Event()
        asked = time.monotonic()
        try:
            loop.call_soon_threadsafe(answered.set)
        except RuntimeError:
            return  # The loop is closed: nothing is left to watch.
        if answered.wait(BLOCKED_S):
            return
        handler = self._found(sys._current_frames().get(ident))  # noqa: SLF001 - the documented way to see a thread.
        if handler is None:
            return
        self._counts["blocked"] += 1
        self._counts[f"blocked:{handler.name}"] += 1
        _log.warning(
            "%s (%s) has blocked the event loop for over %.1f s; all other handlers of this process wait. "
            "Let it await, or say @%s.handles(thread=True)",
            handler.step,
            handler.place,
            time.monotonic() - asked,
            self._name,
        )
        while not self._stopped.is_set() and not answered.wait(WATCH_EVERY_S):
            if self._since is not None and time.monotonic() - self._since > self._batch_s_max:
                return  # The next round ends it.

    def _found(self, frame: FrameType | None) -> Handler | None:
        while frame is not None:
            if frame.f_code in self._steps:
                return self._steps[frame.f_code]
            frame = frame.f_back
        return None


def _code(handler: Handler) -> CodeType | None:
    found = getattr(handler.function, "__wrapped__", handler.function)
    code = getattr(found, "__code__", None)
    return code if isinstance(code, CodeType) else None
