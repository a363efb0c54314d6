"""The same handlers as choreo services; each run has names of its own, so that it starts with nothing remembered."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import Any

from bench.events import HANDLERS, OrderConfirmed, OrderPlaced, reserve
from choreo import Saga, Service, Settings
from choreo.launch import running, tune_garbage_collection
from choreo.runtime import BatchResult, Worker
from choreo.transport import Record

EVENT_TOPICS = frozenset(each.__choreo_topic__ for each in (*HANDLERS, OrderConfirmed))


def one_hop() -> list[Service]:
    """Return a service of one handler."""
    service = Service(f"bench-hop-{uuid.uuid4().hex[:8]}")
    service.handles(reserve)
    return [service]


def four_steps() -> list[Service]:
    """Return four services of one handler each; the last one owns the saga."""
    run_id = uuid.uuid4().hex[:8]
    services = []
    for handler in HANDLERS.values():
        service = Service(f"bench-{handler.__name__}-{run_id}")
        service.handles(handler)
        services.append(service)
    services[-1].owns(Saga("bench", starts=OrderPlaced, completes=OrderConfirmed, key="order_id"))
    return services


def run(services: list[Service], settings: Settings, total: int) -> tuple[float, float]:
    """Process `total` events; return seconds from the first batch to the last commit, and processor seconds."""
    return asyncio.run(_run(services, settings, total))


async def _run(services: list[Service], settings: Settings, total: int) -> tuple[float, float]:
    tune_garbage_collection()
    async with running(*services, settings=settings, create_topics=True) as live:
        stopwatch = Stopwatch(total)
        for worker in live.workers:
            stopwatch.watch(worker)
        return await stopwatch.elapsed()


class Stopwatch:
    """Measures from the first batch that any engine gets to the commit that makes the steps `total`: wall, processor.

    Steps are counted by the events they emit: an owner also reads starts, and every service reads ends.
    """

    def __init__(self, total: int) -> None:
        self._left = total
        self._started = self._worked = 0.0
        self._done: asyncio.Future[tuple[float, float]] = asyncio.get_running_loop().create_future()

    def watch(self, worker: Worker) -> None:
        process, committed = worker.engine.process, worker._committed  # noqa: SLF001 - the moment of the commit is there.

        async def processing(records: Sequence[Record]) -> BatchResult:
            if records and not self._started:
                self._started, self._worked = time.perf_counter(), time.process_time()
            return await process(records)

        async def committing(pending: Any, *, also: BatchResult | None = None) -> bool:
            done = await committed(pending, also=also)
            if done:
                self._left -= sum(outgoing.topic in EVENT_TOPICS for outgoing in pending.work.outputs)
            if self._left <= 0 and not self._done.done():
                self._done.set_result((time.perf_counter() - self._started, time.process_time() - self._worked))
            return done

        worker.engine.process, worker._committed = processing, committing  # type: ignore[method-assign]  # noqa: SLF001

    async def elapsed(self) -> tuple[float, float]:
        return await self._done
