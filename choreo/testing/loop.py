"""An event loop of its own for each scenario, whatever thread calls.

Running coroutines from code that has no loop, and from code that has one already, lives here; what is run does not. A
scenario has one for as long as it lives, so that resources opened on it stay usable.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

from choreo.errors import ChoreoError

T = TypeVar("T")


class PrivateLoop:
    """A loop that runs only while a caller waits for it.

    It runs on the caller's thread, so that a debugger and what belongs to a thread work as in plain code. A loop cannot
    run within a loop: from the first call that comes out of one, a thread of its own takes over.
    """

    def __init__(self) -> None:
        # A factory of its own, so that no thread's current loop is replaced.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._thread: ThreadPoolExecutor | None = None
        self._turn = threading.RLock()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns; raise what it raises.

        Raises:
            ChoreoError: If the caller is run by this very loop: it would wait for itself.
        """
        if _running_loop() is self._loop:
            work.close()
            raise ChoreoError("a handler cannot drive the scenario that it runs in")
        return self.call(lambda: self._loop.run_until_complete(work))

    def call(self, call: Callable[[], T]) -> T:
        """Return what a call returns that must not be made on a thread with a running loop."""
        with self._turn:
            if self._thread is None:
                if _running_loop() is None:
                    return call()
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="scenario")
            return self._thread.submit(copy_context().run, call).result()

    def close(self) -> None:
        """End what is still running and close the loop; closing twice is fine."""
        if not self._loop.is_closed():
            self.call(self._runner.close)
            if self._thread is not None:
                self._thread.shutdown()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None
