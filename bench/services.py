"""The same handlers as choreo services; each run has names of its own, so that it starts with nothing remembered."""

import asyncio
import time
import uuid

from bench.events import HANDLERS, OrderConfirmed, OrderPlaced, reserve
from choreo import Saga, Service, Settings
from choreo.launch import running
from choreo.runtime import Work


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


def run(services: list[Service], settings: Settings, total: int) -> float:
    """Process `total` events over all services and return seconds from the first batch to the last commit."""
    return asyncio.run(_run(services, settings, total))


async def _run(services: list[Service], settings: Settings, total: int) -> float:
    started = 0.0
    async with running(*services, settings=settings, create_topics=True) as live:
        for worker in live.workers:
            process = worker.engine.process

            async def timed(records, process=process) -> Work:
                nonlocal started
                if records and not started:
                    started = time.perf_counter()
                return await process(records)

            worker.engine.process = timed
        while sum(worker.engine.counts["events"] for worker in live.workers) < total:
            await asyncio.sleep(0.01)
        return time.perf_counter() - started
