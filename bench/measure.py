"""One measurement a process: `python -m bench.measure NAME BOOTSTRAP …` prints one JSON object.

Each runs in a process of its own, so that no measurement inherits another's heap, threads or warm caches.
"""

import asyncio
import json
import resource
import sys
import threading
import time
import uuid
from collections.abc import Callable

from confluent_kafka import Producer

from bench import raw, services
from bench.events import HANDLERS, OrderPlaced, StockReserved, order, reserve
from bench.load import PARTITIONS, committed, create_topics, fill, headers_for
from choreo import Settings
from choreo.codec import encoder
from choreo.kafka import KafkaTransport
from choreo.launch import running
from choreo.memory import Fence, Memory, Status
from choreo.runtime.forgetting import Forgetting

Result = dict[str, float]


def settings_for(bootstrap: str, batch_max: int) -> Settings:
    """Return production defaults: exactly once, with fence memory and changelog."""
    return Settings(bootstrap_servers=bootstrap, batch_max=batch_max, partitions=PARTITIONS)


def raw_hop(bootstrap: str, total: int, batch_max: int) -> Result:
    """One hop by the hand-written loop."""
    create_topics(bootstrap, StockReserved.__choreo_topic__)
    return _rate(total, raw.run(bootstrap, {OrderPlaced: reserve}, total, batch_max))


def choreo_hop(bootstrap: str, total: int, batch_max: int) -> Result:
    """One hop by choreo."""
    return _rate(total, services.run(services.one_hop(), settings_for(bootstrap, batch_max), total))


def raw_four(bootstrap: str, total: int, batch_max: int) -> Result:
    """Four steps a saga by one hand-written loop that runs all four handlers."""
    create_topics(bootstrap, *(each.__choreo_topic__ for each in HANDLERS), "bench.confirmations")
    return _rate(4 * total, raw.run(bootstrap, HANDLERS, 4 * total, batch_max))


def choreo_four(bootstrap: str, total: int, batch_max: int) -> Result:
    """Four steps a saga by four services in one process."""
    return _rate(4 * total, services.run(services.four_steps(), settings_for(bootstrap, batch_max), 4 * total))


def latency(bootstrap: str, total: int, per_s: int) -> Result:
    """One hop at a steady rate: from acknowledged to read by a read_committed reader, in milliseconds."""
    return asyncio.run(_latency(bootstrap, total, per_s))


async def _latency(bootstrap: str, total: int, per_s: int) -> Result:
    [service] = services.one_hop()
    acknowledged: dict[bytes, float] = {}
    seen: list[float] = []
    async with running(service, settings=settings_for(bootstrap, 1000), create_topics=True) as live:
        await live.wait_ready()
        reading = threading.Thread(target=_collect, args=(bootstrap, acknowledged, seen, total), daemon=True)
        reading.start()
        await asyncio.to_thread(_place, bootstrap, acknowledged, total, per_s)
        await asyncio.to_thread(reading.join, 60)
    seen.sort()
    warm = seen[: max(1, len(seen))]
    return {
        "count": len(warm),
        "p50_ms": 1000 * warm[len(warm) // 2],
        "p99_ms": 1000 * warm[int(len(warm) * 0.99) - 1],
        "max_ms": 1000 * warm[-1],
    }


def _place(bootstrap: str, acknowledged: dict[bytes, float], total: int, per_s: int) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "partitioner": "murmur2_random"})
    encode = encoder(OrderPlaced)
    begin = time.perf_counter()
    for n in range(total):
        due = begin + n / per_s
        while (left := due - time.perf_counter()) > 0:
            producer.poll(left)
        saga_id = str(uuid.uuid4())

        def note(error: object, message: object, key: bytes = saga_id.encode()) -> None:
            acknowledged[key] = time.perf_counter()

        producer.produce(
            OrderPlaced.__choreo_topic__,
            key=saga_id,
            value=encode(order(n)),
            headers=headers_for(saga_id, n),
            on_delivery=note,
        )
        producer.poll(0)
    producer.flush(30)


def _collect(bootstrap: str, acknowledged: dict[bytes, float], seen: list[float], total: int) -> None:
    idle_since = time.perf_counter()
    for key, at in committed(bootstrap, StockReserved.__choreo_topic__):
        if key is None:
            if time.perf_counter() - idle_since > 30:
                return
            continue
        idle_since = time.perf_counter()
        sent = acknowledged.get(key)
        # The acknowledgement's callback may run after the reader has the answer; such a hop took no time we can see.
        seen.append(max(0.0, at - sent) if sent is not None else 0.0)
        if len(seen) >= total:
            return


def memory(bootstrap: str, total: int) -> Result:
    """A million sagas at rest: growth of resident memory, and seconds to restore them."""
    topic = f"bench-memory-{uuid.uuid4().hex[:8]}.memory"
    create_topics(bootstrap, topic, compact=True)
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 2_000_000}
    )
    for n in range(total):
        saga_id = str(uuid.uuid4())
        remembered = Memory()
        remembered.fences["reserve", "", str(uuid.uuid5(uuid.UUID(saga_id), "start"))] = Fence(Status.DONE, n)
        producer.produce(topic, key=saga_id, value=remembered.encode(), partition=n % PARTITIONS)
        if n % 10_000 == 0:
            producer.poll(0)
    producer.flush(120)
    del producer
    before = _rss_mb()
    begin = time.perf_counter()
    transport = KafkaTransport({"bootstrap.servers": bootstrap})
    restored = transport.restore(topic, range(PARTITIONS))
    sweeps = [Forgetting(1) for _ in restored]
    for sweep, memories in zip(sweeps, restored.values(), strict=True):
        sweep.restore(memories)
    elapsed = time.perf_counter() - begin
    count = sum(len(memories) for memories in restored.values())
    return {"sagas": count, "seconds": elapsed, "growth_mb": _rss_mb() - before}


def _rss_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1e6


def _rate(events: int, elapsed: float) -> Result:
    return {"events": events, "seconds": elapsed, "events_per_s": events / elapsed}


MEASUREMENTS: dict[str, Callable[..., Result]] = {
    "raw-hop": raw_hop,
    "choreo-hop": choreo_hop,
    "raw-four": raw_four,
    "choreo-four": choreo_four,
    "latency": latency,
    "memory": memory,
}


def main() -> None:
    """Run one measurement."""
    name, bootstrap, *numbers = sys.argv[1:]
    if name == "fill":
        create_topics(bootstrap, OrderPlaced.__choreo_topic__)
        fill(bootstrap, int(numbers[0]))
        return
    print(json.dumps(MEASUREMENTS[name](bootstrap, *map(int, numbers))))


if __name__ == "__main__":
    main()
