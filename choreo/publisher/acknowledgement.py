"""Waiting until the brokers have what was sent.

Counting what is still on its way and bounded waiting, in threads and on the event loop, live here; what is sent does
not. `event_publisher` makes one `Acknowledgements` a call.
"""

import asyncio
import threading
import time
from contextlib import suppress

from choreo.errors import BrokerUnavailable, ChoreoError

NOT_LOST = "What was sent may still arrive; publishing it again under the same key or event_id is safe."


class Acknowledgements:
    """What one call sends and the brokers have not confirmed.

    The callbacks come from the client's thread. Waiting is bounded by progress: as long as the brokers take something
    within the timeout, a long list may take longer.

    Args:
        records: How many it sends.
        timeout_s: Seconds without any progress before waiting ends.
        loop: The event loop that will wait; None for a thread.
    """

    def __init__(self, records: int, timeout_s: float, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._left = records
        self._timeout_s = timeout_s
        self._error: Exception | None = None
        self._progress_at = time.monotonic()
        self._lock = threading.Lock()
        self._done = threading.Event()
        if not records:
            self._done.set()
        self._loop = loop
        self._done_on_loop = asyncio.Event() if loop is not None else None

    def settle(self, error: Exception | None) -> None:
        """Take the brokers' answer for one record."""
        with self._lock:
            self._left -= 1
            self._error = self._error or error
            self._progress_at = time.monotonic()
            if self._left:
                return
        self._done.set()
        if self._loop is not None and self._done_on_loop is not None:
            # The loop may be closed by now; then nobody waits any more.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._done_on_loop.set)

    def _patience_s(self) -> float:
        return self._progress_at + self._timeout_s - time.monotonic()

    def wait(self) -> None:
        """Wait until all that was handed over is confirmed.

        Raises:
            TransportError: If the brokers refused something, or were silent for too long; retrying may help.
        """
        self._progress_at = time.monotonic()
        while not self._done.is_set() and (patience_s := self._patience_s()) > 0:
            self._done.wait(patience_s)
        self._judge()

    async def wait_async(self) -> None:
        """Wait until all is confirmed, on the loop that was given; raises as `wait`."""
        assert self._done_on_loop is not None
        self._progress_at = time.monotonic()
        while not self._done.is_set() and (patience_s := self._patience_s()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._done_on_loop.wait()
        self._judge()

    def _judge(self) -> None:
        error = self._error
        if isinstance(error, ChoreoError):
            raise error
        if error is not None:
            raise BrokerUnavailable(f"the brokers did not take the event: {error}") from error
        if not self._done.is_set():
            raise BrokerUnavailable(f"the brokers were silent for {self._timeout_s:g} s. {NOT_LOST}")
