"""Poll, process, commit, again: one service on one transport until it is told to stop.

The loop, the thread for transport calls that wait, and draining live here; what a batch comes to does not (`engine`),
nor noticing that it hangs (`watchdog`). `launch` runs one worker a service and process.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

from choreo.errors import TransactionAborted
from choreo.runtime.batch import BatchResult
from choreo.runtime.engine import Engine
from choreo.runtime.watchdog import Watchdog
from choreo.transport import Batch, Commit, Source

POLL_S = 0.25
DRAIN_S = 10.0
_log = logging.getLogger("choreo")
T = TypeVar("T")


class _Pending(NamedTuple):
    """A batch whose commit is under way."""

    batch: Batch
    work: BatchResult
    commit: asyncio.Future[None]


class Worker:
    """One service, running.

    Args:
        name: The service, for threads and logs.
        engine: What processes its batches; closed by `run`.
        source: Where they come from; closed by `run`.
        batch_max: Records a batch.
        batch_s_max: Seconds a batch may be in flight before the process ends itself: a handler that never returns would
            otherwise hold its partitions until the group's poll interval throws it out.
        drain_s: Seconds that handlers in flight are given once `stop` is called; then they are cancelled, and their
            batch is read again by whoever comes next.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        source: Source,
        *,
        batch_max: int = 1000,
        batch_s_max: float = 240.0,
        drain_s: float = DRAIN_S,
    ) -> None:
        self.name = name
        self.engine = engine
        self._source = source
        self._batch_max = batch_max
        self._drain_s = drain_s
        self._assigned = asyncio.Event()
        self._stop = asyncio.Event()
        # For the transport's calls that wait: one thread, so one call at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"kafka-{name}")
        self._watchdog = Watchdog(name, engine.rules.handlers.values(), engine.counts, batch_s_max=batch_s_max)

    @property
    def ready(self) -> bool:
        """Whether partitions are assigned and their memory restored."""
        return self._assigned.is_set()

    async def wait_ready(self) -> None:
        """Wait until partitions are assigned and restored; an idle member of a full group never is."""
        await self._assigned.wait()

    def stop(self) -> None:
        """Finish the batch in flight, commit it and leave; handlers that take too long for that are cancelled."""
        self._stop.set()

    async def run(self) -> None:
        """Work until `stop`.

        Raises:
            Fenced: Another process took this one's place; nothing of the batch in flight was published.
            TransportError: The brokers are gone for good, or refuse us.
        """
        self._watchdog.start(asyncio.get_running_loop())
        try:
            await self._loop()
        finally:
            self._watchdog.done()
            try:
                await self._on_thread(self._source.close)
            finally:
                self._watchdog.stop()
                self.engine.close()
                self._thread.shutdown(wait=False)

    def _on_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _loop(self) -> None:
        """Take batch after batch; what has come by then is worked out while the last one is being committed.

        Whatever does not wait is done on this thread: objects made on one processor and used on another cost more than
        the calls do. The source has one call at a time all the same: none is made here while a commit is under way.
        """
        batch: Batch | None = None
        pending: _Pending | None = None
        while not self._stop.is_set():
            if batch is None:
                self._watchdog.done()
                batch = await self._on_thread(partial(self._source.poll, self._patience_s(), self._batch_max))
            self._turn(batch)
            if not batch.records and not self._assigned.is_set():
                batch = None
                continue
            self._watchdog.begin()
            work = await self._process(batch)
            if pending is not None and not await self._committed(pending, also=work):
                # The previous commit failed, so this batch used memories that were rolled back: both are read again.
                batch = pending = None
                continue
            pending = None
            following = self._source.fetch(self._batch_max)
            if work is not None and not work.empty:
                pending = self._commit(batch, work)
                if following is None:
                    await self._committed(pending)
                    pending = None
            batch = following
        if pending is not None:
            await self._committed(pending)

    def _commit(self, batch: Batch, work: BatchResult) -> _Pending:
        """Begin to commit; what comes next is worked out as if that had succeeded."""
        self.engine.merge(work)
        rest = self._source.stage(Commit(batch.token, work.changelog, work.outputs, work.offsets))
        return _Pending(batch, work, self._on_thread(partial(self._source.commit, rest)))

    async def _committed(self, pending: _Pending, *, also: BatchResult | None = None) -> bool:
        """Await a commit; where it did not happen, take its batch back, and what was worked out behind it `also`.

        Raises:
            Fenced: As `run`.
            TransportError: As `run`.
        """
        try:
            await pending.commit
        except TransactionAborted as error:
            self._take_back(pending, also)
            count = len(pending.batch.records)
            _log.warning("%s: a batch of %d records was not committed, again: %s", self.name, count, error)
            return False
        except BaseException:
            self._take_back(pending, also)
            raise
        return True

    def _take_back(self, pending: _Pending, also: BatchResult | None) -> None:
        if also is not None:
            self.engine.drop(also)
        self.engine.undo(pending.work)

    def _patience_s(self) -> float:
        """Return how long to wait for records: until something is due, and never so long that `stop` goes unheard."""
        due_ms = self.engine.next_ms
        return POLL_S if due_ms is None else min(max(due_ms / 1000 - time.time(), 0.0), POLL_S)

    async def _process(self, batch: Batch) -> BatchResult | None:
        """Return what a batch comes to; None where it was given up, because it took too long to drain."""
        processing = asyncio.ensure_future(self.engine.process(batch.records))
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            both: set[asyncio.Future[Any]] = {processing, stopping}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not processing.done():
                await asyncio.wait({processing}, timeout=self._drain_s)
            if processing.done():
                return processing.result()
            _log.warning(
                "%s: handlers are still running %.0f s after the stop (drain_timeout_s) and are cancelled; their batch "
                "of %d records is not committed, and is read again by whoever comes next",
                self.name,
                self._drain_s,
                len(batch.records),
            )
            return None
        finally:
            stopping.cancel()
            if not processing.done():
                processing.cancel()
                await asyncio.wait({processing})

    def _turn(self, batch: Batch) -> None:
        for partition in batch.lost:
            self.engine.lose(partition)
        for partition, memories in batch.gained.items():
            self.engine.gain(partition, memories)
        self.engine.wait_for(batch.behind)
        if batch.gained:
            self._assigned.set()
            _log.info("%s: owns partitions %s", self.name, sorted(self.engine.partitions))
        if not self.engine.partitions:
            self._assigned.clear()
