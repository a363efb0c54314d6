"""Poll, process, commit, again: one service on one transport until it is told to stop.

The loop, its two threads (every transport call is made from one of them) and the watchdog live here; what a batch
comes to does not (`engine`). `launch` runs one worker a service and process.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from choreo.errors import Fenced, TransactionAborted
from choreo.runtime.engine import Engine, Work
from choreo.transport import Batch, Commit, Outgoing, Position, Source

POLL_S = 0.25
WATCH_EVERY_S = 1.0
EXIT_STUCK = 70
T = TypeVar("T")


class OnThread(Protocol):
    """Runs a call on the one thread that owns the transport and awaits its result."""

    async def __call__(self, call: Callable[[], T]) -> T:
        """Run it."""
        ...


_log = logging.getLogger("choreo")


class Worker:
    """One service, running.

    Args:
        name: The service, for threads and logs.
        engine: What processes its batches.
        source: Where they come from; closed by `run`.
        batch_max: Records a batch.
        batch_s_max: Seconds a batch may be in flight before the process ends itself: a handler that never returns would
            otherwise hold its partitions until the group's poll interval throws it out.
    """

    def __init__(
        self, name: str, engine: Engine, source: Source, *, batch_max: int = 1000, batch_s_max: float = 240.0
    ) -> None:
        self.name = name
        self.engine = engine
        self._source = source
        self._batch_max = batch_max
        self._batch_s_max = batch_s_max
        self._since: float | None = None
        self._assigned = asyncio.Event()
        self._stop = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether partitions are assigned and their memory restored."""
        return self._assigned.is_set()

    async def wait_ready(self) -> None:
        """Wait until partitions are assigned and restored; an idle member of a full group never is."""
        await self._assigned.wait()

    def stop(self) -> None:
        """Finish the batch in flight, commit it and leave."""
        self._stop.set()

    async def run(self) -> None:
        """Work until `stop`.

        Raises:
            Fenced: Another process took this one's place; nothing of the batch in flight was published.
            TransportError: The brokers are gone for good, or refuse us.
        """
        loop = asyncio.get_running_loop()
        stopped = threading.Event()
        executor = ThreadPoolExecutor(1, thread_name_prefix=f"kafka-{self.name}")
        watchdog = threading.Thread(target=self._watch, args=(stopped,), name=f"watchdog-{self.name}", daemon=True)
        watchdog.start()

        async def on_thread(call: Callable[[], T]) -> T:
            return await loop.run_in_executor(executor, call)

        try:
            while not self._stop.is_set():
                batch = await on_thread(lambda: self._source.poll(POLL_S, self._batch_max))
                self._turn(batch)
                if not batch.records and not self._assigned.is_set():
                    continue
                self._since = time.monotonic()
                await self._work(on_thread, batch)
                self._since = None
        finally:
            try:
                await on_thread(self._source.close)
            finally:
                stopped.set()
                executor.shutdown(wait=False)

    async def _work(self, on_thread: OnThread, batch: Batch) -> None:
        """Process a batch and commit it; of a large one the brokers get some while the rest is worked out."""
        staged: list[asyncio.Future[bool]] = []

        def stage(records: list[Outgoing], offsets: Mapping[Position, int]) -> None:
            staged.append(asyncio.ensure_future(on_thread(lambda: self._source.stage(batch.token, records, offsets))))

        work = await self.engine.process(batch.records, stage)
        taken = [await each for each in staged]
        remembered, emitted = work.handed if taken and all(taken) else (0, 0)
        if not work.empty:
            commit = Commit(batch.token, work.changelog[remembered:], work.outputs[emitted:], work.offsets)
            await self._commit(on_thread, batch, work, commit)

    async def _commit(self, on_thread: OnThread, batch: Batch, work: Work, commit: Commit) -> None:
        try:
            await on_thread(lambda: self._source.commit(commit))
        except TransactionAborted as error:
            self.engine.drop(work)
            _log.warning("%s: a batch of %d records was not committed, again: %s", self.name, len(batch.records), error)
        except Fenced:
            self.engine.drop(work)
            raise
        else:
            self.engine.merge(work)

    def _turn(self, batch: Batch) -> None:
        for partition in batch.lost:
            self.engine.lose(partition)
        for partition, memories in batch.gained.items():
            self.engine.gain(partition, memories)
        if batch.gained:
            self._assigned.set()
            _log.info("%s: owns partitions %s", self.name, sorted(self.engine.partitions))
        if not self.engine.partitions:
            self._assigned.clear()

    def _watch(self, stopped: threading.Event) -> None:
        """End the process when a batch hangs; whatever it held goes to another worker, uncommitted."""
        while not stopped.wait(WATCH_EVERY_S):
            since = self._since
            if since is not None and time.monotonic() - since > self._batch_s_max:
                _log.critical(
                    "%s: a batch is in flight for over %.0f s (batch_timeout_s): a handler hangs. Ending the process.",
                    self.name,
                    self._batch_s_max,
                )
                os._exit(EXIT_STUCK)
