"""Starting services, keeping them running and letting them go.

The order of starting (check, announce, open, join) and of stopping (drain, leave, close) lives here; one service's
loop is `runtime.Worker`. `choreo run`, `choreo demo` and users' own programs come through here.
"""

import asyncio
import gc
import logging
import signal
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from choreo.catalog import Catalog, announce
from choreo.clock import SystemClock
from choreo.kafka import KafkaTransport
from choreo.launch.health import serve_health
from choreo.launch.slot import claim_slot
from choreo.manifest import Manifest
from choreo.records import memory_topic
from choreo.runtime import Resources, Worker
from choreo.runtime.assembly import codec_for, engine_for, topics_read
from choreo.service import Declaration, Service, declarations
from choreo.settings import Settings
from choreo.topics import apply_topics, check_topics
from choreo.transport import Transport

GC_THRESHOLD = 400_000
_log = logging.getLogger("choreo")


class Running:
    """Services that run in this process.

    Attributes:
        workers: One a service.
        tasks: One a worker; it ends when the worker has stopped or failed.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = list(workers)
        self.tasks = [asyncio.create_task(worker.run(), name=worker.name) for worker in self.workers]

    @property
    def ready(self) -> bool:
        """Whether every service owns partitions and has restored their memory."""
        return all(worker.ready for worker in self.workers)

    async def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until every service owns partitions.

        Raises:
            TimeoutError: If that takes longer than `timeout_s` seconds.
            ChoreoError: If a service failed meanwhile.
        """
        ready = asyncio.gather(*(worker.wait_ready() for worker in self.workers))
        awaited: list[asyncio.Future[Any]] = [ready, *self.tasks]
        try:
            async with asyncio.timeout(timeout_s):
                while not ready.done():
                    done, _ = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                    for each in done:
                        each.result()
        finally:
            ready.cancel()

    def stop(self) -> None:
        """Finish the batches in flight, commit them and leave."""
        for worker in self.workers:
            worker.stop()

    async def wait(self) -> None:
        """Wait until all services have stopped.

        Raises:
            ChoreoError: If a service failed; the others are stopped first.
        """
        done, _ = await asyncio.wait(self.tasks, return_when=asyncio.FIRST_EXCEPTION)
        self.stop()
        await asyncio.wait(self.tasks)
        for task in (*done, *self.tasks):
            task.result()


@asynccontextmanager
async def running(
    *services: Service,
    settings: Settings | None = None,
    transport: Transport | None = None,
    create_topics: bool = False,
    health: tuple[str, int] | None = None,
) -> AsyncIterator[Running]:
    """Run services in this process for as long as the block lasts; leaving it drains and commits.

    Args:
        services: What to run; each gets its own consumer group.
        settings: Where and how; read from the environment unless given.
        transport: Brokers to use instead of those the settings name.
        create_topics: Create what is missing instead of refusing to start.
        health: Address for `/healthz` and `/readyz`, if wanted.

    Raises:
        DeclarationError: If the services cannot run as declared; retrying does not help.
        TopicProblem: If topics are missing or do not fit.
        BrokerUnavailable: If no broker answers, with the client's own reason.
    """
    declared = declarations(*services)
    settings = settings if settings is not None else Settings()
    async with AsyncExitStack() as stack:
        if transport is None:
            transport = KafkaTransport(settings.kafka_config())
            stack.callback(transport.close)
        prepare = apply_topics if create_topics else check_topics
        await asyncio.to_thread(prepare, declared, transport, settings)
        catalog = await asyncio.to_thread(announce, [Manifest.of(each) for each in declared], transport)
        instance = settings.instance or stack.enter_context(claim_slot(*(each.name for each in declared))).instance
        workers = [await _worker(each, settings, transport, catalog, instance, stack) for each in declared]
        live = Running(workers)
        server = None
        try:
            if health is not None:
                server = await serve_health(lambda: live.ready, *health)
            yield live
        finally:
            if server is not None:
                server.close()
            live.stop()
            await live.wait()


async def _worker(
    declaration: Declaration,
    settings: Settings,
    transport: Transport,
    catalog: Catalog,
    instance: str,
    stack: AsyncExitStack,
) -> Worker:
    if not transport.guarantees.exactly_once:
        settings = settings.model_copy(update={"delivery": "at_least_once"})
    resources = Resources(declaration.providers)
    await resources.open()
    stack.push_async_callback(resources.close)
    codec = codec_for(declaration, catalog.schemas, settings)
    engine = engine_for(declaration, codec, resources, catalog, settings, SystemClock())
    source = await asyncio.to_thread(
        transport.source,
        group=declaration.name,
        topics=topics_read(declaration),
        memory_topic=memory_topic(declaration.name),
        delivery=settings.delivery,
        instance=instance,
    )
    return Worker(
        declaration.name,
        engine,
        source,
        batch_max=settings.batch_max,
        batch_s_max=settings.batch_timeout_s,
        drain_s=settings.drain_timeout_s,
    )


def run(
    *services: Service,
    settings: Settings | None = None,
    transport: Transport | None = None,
    create_topics: bool = False,
    health: tuple[str, int] | None = None,
) -> None:
    """Run services until SIGTERM or SIGINT; then drain, commit and return. Arguments are those of `running`.

    Raises:
        ChoreoError: As `running`; and if a service fails.
    """
    tune_garbage_collection()
    services_running = running(
        *services, settings=settings, transport=transport, create_topics=create_topics, health=health
    )
    asyncio.run(_until_signal(services_running))


def tune_garbage_collection() -> None:
    """Let the collector run less often; for a process that does nothing but run services.

    A batch makes tens of thousands of objects that all die by reference counts, in no cycles. Collections in the middle
    of it cost about a sixth of the time of a hop. What was imported by now is never looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)


async def _until_signal(services_running: AbstractAsyncContextManager[Running]) -> None:
    signalled = asyncio.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    async with services_running as live:
        waiting = asyncio.create_task(signalled.wait())
        await asyncio.wait({waiting, *live.tasks}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if signalled.is_set():
            _log.info("draining: %s", ", ".join(worker.name for worker in live.workers))
