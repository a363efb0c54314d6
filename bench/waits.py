"""What waiting costs: a million timers, one saga that fails for an hour, handlers that await.

Each function is one measurement, run in a process of its own by `bench.measure`.
"""

import asyncio
import gc
import logging
import statistics
import time
import uuid
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer

from bench.events import OrderPlaced, StockReserved, order, reserve
from bench.load import PARTITIONS, create_topics, headers_for
from bench.services import Stopwatch
from choreo import Failure, Retry, Service, Settings
from choreo.clock import ManualClock
from choreo.codec import Codec, Schemas, encoder
from choreo.kafka import KafkaTransport
from choreo.launch import running, tune_garbage_collection
from choreo.runtime import Engine, Resources
from choreo.service import declarations
from choreo.step import Rules
from choreo.transport import Record

Result = dict[str, float]
TIMERS = "bench-timers"
BATCH = 1000
HOUR = timedelta(hours=1)
IDLE_S = 10.0
AWAIT_S = 0.02


class OrderTimedOut(Failure, topic="bench.timeouts"):
    order_id: str


def watching(within: timedelta) -> Service:
    """Return a service that does nothing but wait."""
    service = Service(TIMERS)

    @service.deadline(StockReserved, within=within)
    def overdue(placed: OrderPlaced) -> OrderTimedOut:
        return OrderTimedOut(order_id=placed.order_id, reason="nobody answered")

    return service


def starts(count: int, at_s: float = 0.0) -> list[Record]:
    """Return starts of distinct sagas, `at_s` seconds apart from one another's offsets in time."""
    encode = encoder(OrderPlaced)
    found = []
    for n in range(count):
        saga_id = str(uuid.uuid4())
        headers = headers_for(saga_id, n)
        topic, partition = OrderPlaced.__choreo_topic__, n % PARTITIONS
        found.append(Record(topic, partition, n, saga_id.encode(), encode(order(n)), headers, int(at_s * 1000)))
    return found


def engine_of(service: Service, clock: ManualClock, memories: dict[int, dict[str, bytes]] | None = None) -> Engine:
    """Return a service's engine without brokers."""
    [declaration] = declarations(service)
    codec = Codec(declaration.event_types, Schemas(), consumes=declaration.consumes)
    engine = Engine(Rules(declaration, codec), Resources(declaration.providers), clock=clock)
    for number in range(PARTITIONS):
        engine.gain(number, (memories or {}).get(number, {}))
    return engine


def timers(bootstrap: str, total: int) -> Result:
    """Set timers, restore them from a topic, wait with them, and fire them, without and with Kafka."""
    tune_garbage_collection()
    result = asyncio.run(_set_and_fire(total))
    return result | _restored(bootstrap, total)


async def _set_and_fire(total: int) -> Result:
    clock = ManualClock()
    engine = engine_of(watching(HOUR), clock)
    spent = size = 0.0
    for at in range(0, total, BATCH):
        batch = starts(min(BATCH, total - at))
        begin = time.thread_time()
        work = await engine.process(batch)
        engine.merge(work)
        spent += time.thread_time() - begin
        size += sum(len(each.value or b"") for each in work.changelog)
    clock.advance(timedelta(days=365 * 30))
    begin, fired = time.thread_time(), 0
    while True:
        work = await engine.process([])
        engine.merge(work)
        if not work.outputs:
            break
        fired += len(work.outputs)
    elapsed = time.thread_time() - begin
    if fired != total:
        raise RuntimeError(f"{fired} of {total} timers fired")
    return {"set_us": 1e6 * spent / total, "bytes": size / total, "fire_us": 1e6 * elapsed / total}


def _restored(bootstrap: str, total: int) -> Result:
    """Fill a memory topic with timers, restore it in a running service, let it idle, and see that nothing is used."""
    clock = ManualClock()
    clock.advance(timedelta(seconds=time.time() - clock.now().timestamp()))
    engine = engine_of(watching(timedelta(days=3650)), clock)
    create_topics(bootstrap, f"{TIMERS}.memory", compact=True)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 2_000_000})
    for at in range(0, total, BATCH):
        work = asyncio.run(engine.process(starts(min(BATCH, total - at), time.time())))
        for each in work.changelog:
            producer.produce(each.topic, key=each.key, value=each.value, partition=each.partition)
        producer.poll(0)
    if producer.flush(120):
        raise RuntimeError("not all timers were written")
    transport = KafkaTransport({"bootstrap.servers": bootstrap})
    gc.collect()
    begin = time.perf_counter()
    memories = transport.restore(f"{TIMERS}.memory", range(PARTITIONS))
    again = engine_of(watching(HOUR), clock, memories)
    restored = time.perf_counter() - begin
    if again.next_ms is None or sum(len(each) for each in memories.values()) != total:
        raise RuntimeError("not all timers were restored")
    del memories, again
    return {"restore_s": restored, "idle_cpu": asyncio.run(_idle(bootstrap))}


async def _idle(bootstrap: str) -> float:
    """Return the share of one processor that a service takes which waits with all these timers."""
    settings = Settings(bootstrap_servers=bootstrap, partitions=PARTITIONS)
    async with running(watching(timedelta(days=3650)), settings=settings, create_topics=True) as live:
        await live.wait_ready(120)
        # The first look at the backlog is over when nothing has happened for a while.
        await asyncio.sleep(3)
        before = time.process_time()
        await asyncio.sleep(IDLE_S)
        return (time.process_time() - before) / IDLE_S


def beside(_bootstrap: str, total: int, runs: int = 9) -> Result:
    """One saga that fails for a virtual hour, beside healthy ones: how much their 99th percentile moves."""
    tune_garbage_collection()
    # Where no handler is set up, warnings go to standard error one by one, which a service at work does not do.
    logging.getLogger("choreo").addHandler(logging.NullHandler())
    found: dict[bool, list[float]] = {False: [], True: []}
    for run in range(runs):
        # Each goes first in turn: what a machine is busy with comes and goes.
        for poison in (False, True) if run % 2 else (True, False):
            found[poison].append(asyncio.run(_healthy(total, poison=poison)))
    alone, disturbed = (statistics.median(each) for each in found.values())
    return {"alone_us": alone, "beside_us": disturbed, "moved": disturbed / alone - 1}


async def _healthy(total: int, *, poison: bool) -> float:
    """Return the 99th percentile of what a healthy saga's step takes, in µs, from poll to merge."""
    service = Service("bench-beside")

    @service.handles(retry=Retry(attempts=10_000))
    async def reserved(placed: OrderPlaced) -> StockReserved:
        if placed.order_id == "poison":
            raise ConnectionError("for an hour")
        return await reserve(placed)

    clock = ManualClock()
    engine = engine_of(service, clock)
    healthy = starts(total)
    if poison:
        bad = healthy[0]
        failing = order(0).model_copy(update={"order_id": "poison"})
        engine.merge(await engine.process([bad._replace(value=encoder(OrderPlaced)(failing))]))
    began, apart = clock.now(), HOUR / total
    took = []
    for place, record in enumerate(healthy[1:]):
        arrives = began + place * apart
        # What is due before that wakes the worker by itself, as its polls wait no longer than that.
        while (due_ms := engine.next_ms) is not None and due_ms <= arrives.timestamp() * 1000:
            clock.advance(datetime.fromtimestamp(due_ms / 1000, UTC) - clock.now())
            engine.merge(await engine.process([]))
        clock.advance(arrives - clock.now())
        begin = time.perf_counter()
        engine.merge(await engine.process([record]))
        took.append(time.perf_counter() - begin)
    took.sort()
    return 1e6 * took[int(len(took) * 0.99) - 1]


def awaiting(bootstrap: str, total: int) -> Result:
    """Handlers that await 20 ms of I/O: events a second beside what the concurrency limit allows at best."""
    return asyncio.run(_awaiting(bootstrap, total))


async def _awaiting(bootstrap: str, total: int) -> Result:
    service = Service(f"bench-await-{uuid.uuid4().hex[:8]}")

    @service.handles
    async def slow(placed: OrderPlaced) -> StockReserved:
        await asyncio.sleep(AWAIT_S)
        return await reserve(placed)

    settings = Settings(bootstrap_servers=bootstrap, partitions=PARTITIONS)
    tune_garbage_collection()
    async with running(service, settings=settings, create_topics=True) as live:
        stopwatch = Stopwatch(total)
        stopwatch.watch(live.workers[0])
        elapsed, _ = await stopwatch.elapsed()
    ideal = settings.concurrency_max / AWAIT_S
    return {"events_per_s": total / elapsed, "ideal": ideal, "share": total / elapsed / ideal}
