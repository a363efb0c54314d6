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
from pathlib import Path

from confluent_kafka import Consumer, Producer

from bench import raw, services, waits
from bench.events import HANDLERS, OrderPlaced, StockReserved, order, reserve
from bench.load import PARTITIONS, at_the_end, create_topics, fill, headers_for
from choreo import Settings
from choreo.codec import encoder
from choreo.kafka import KafkaTransport
from choreo.launch import running
from choreo.memory import Fence, Memory, Status
from choreo.runtime.partition import Retention

MEMORY_TOPIC = "bench.memory"
LATENCY_TIMEOUT_S = 120.0
# A broker that has just started compiles its own code for the first seconds; one at work has that behind it.
WARM_UP_S = 10
Result = dict[str, float]


def settings_for(bootstrap: str, batch_max: int) -> Settings:
    """Return production defaults: exactly once, with fence memory and changelog."""
    return Settings(bootstrap_servers=bootstrap, batch_max=batch_max, partitions=PARTITIONS)


def fill_starts(bootstrap: str, total: int) -> Result:
    """Write the starts that the next measurements read."""
    create_topics(bootstrap, OrderPlaced.__choreo_topic__)
    fill(bootstrap, total)
    return {"events": total}


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


def latency(bootstrap: str, total: int, per_s: int, warm_up_s: int = WARM_UP_S) -> Result:
    """One hop at a steady rate: from acknowledged to read by a read_committed reader, in milliseconds."""
    return asyncio.run(_latency(bootstrap, total + warm_up_s * per_s, per_s, warm_up_s * per_s))


async def _latency(bootstrap: str, total: int, per_s: int, warm_up: int) -> Result:
    [service] = services.one_hop()
    acknowledged: dict[bytes, float] = {}
    seen: dict[bytes, float] = {}
    async with running(service, settings=settings_for(bootstrap, 1000), create_topics=True) as live:
        await live.wait_ready()
        consumer = at_the_end(bootstrap, StockReserved.__choreo_topic__)
        reading = threading.Thread(target=_collect, args=(consumer, seen, total), daemon=True)
        reading.start()
        await asyncio.to_thread(_place, bootstrap, acknowledged, total, per_s)
        await asyncio.to_thread(reading.join)
    steady = list(acknowledged)[warm_up:]
    # An acknowledgement's callback may run after the reader has the answer; such a hop took no time that we can see.
    took = sorted(max(0.0, seen[key] - acknowledged[key]) for key in steady if key in seen)
    if len(took) < len(steady):
        raise RuntimeError(f"{len(steady) - len(took)} of {len(steady)} hops did not end")
    return {
        "count": len(took),
        "p50_ms": 1000 * took[len(took) // 2],
        "p99_ms": 1000 * took[int(len(took) * 0.99) - 1],
        "max_ms": 1000 * took[-1],
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

        def note(_error: object, _message: object, key: bytes = saga_id.encode()) -> None:
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


def _collect(consumer: Consumer, seen: dict[bytes, float], total: int) -> None:
    deadline = time.monotonic() + LATENCY_TIMEOUT_S
    while len(seen) < total and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            seen[message.key()] = time.perf_counter()
    consumer.close()


def fill_memory(bootstrap: str, total: int) -> Result:
    """Write what one service remembers of `total` sagas that have ended, as its commits would."""
    create_topics(bootstrap, MEMORY_TOPIC, compact=True)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 2_000_000})
    now_ms = int(time.time() * 1000)
    for n in range(total):
        saga_id = str(uuid.uuid4())
        remembered = Memory()
        remembered.ended_ms = now_ms
        remembered.fences["reserve", "", str(uuid.uuid5(uuid.UUID(saga_id), "start"))] = Fence(Status.DONE, n)
        producer.produce(MEMORY_TOPIC, key=saga_id, value=remembered.encode(), partition=n % PARTITIONS)
        if n % 10_000 == 0:
            producer.poll(0)
    if left := producer.flush(120):
        raise RuntimeError(f"{left} memories were not written")
    return {"sagas": total}


def memory(bootstrap: str, total: int) -> Result:
    """Sagas at rest, ended and not forgotten yet: growth of resident memory, and seconds to restore them."""
    transport = KafkaTransport({"bootstrap.servers": bootstrap})
    before = _rss_mb()
    begin = time.perf_counter()
    restored = transport.restore(MEMORY_TOPIC, range(PARTITIONS))
    sweeps = [Retention(7 * 86_400_000) for _ in restored]
    for sweep, memories in zip(sweeps, restored.values(), strict=True):
        sweep.restore(memories)
    elapsed = time.perf_counter() - begin
    count = sum(len(memories) for memories in restored.values())
    if count != total:
        raise RuntimeError(f"{count} of {total} sagas were restored")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6 - before
    return {"sagas": count, "seconds": elapsed, "growth_mb": _rss_mb() - before, "peak_mb": peak_mb}


def join(bootstrap: str) -> Result:
    """What a bare client needs from its start until the broker has assigned partitions to it."""
    create_topics(bootstrap, OrderPlaced.__choreo_topic__)
    assigned: list[float] = []
    begin = time.perf_counter()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"bare-{uuid.uuid4().hex}"})
    consumer.subscribe([OrderPlaced.__choreo_topic__], on_assign=lambda *_: assigned.append(time.perf_counter()))
    while not assigned:
        consumer.poll(0.1)
    consumer.close()
    return {"seconds": assigned[0] - begin}


def _rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 1e6


def _rate(events: int, elapsed: tuple[float, float]) -> Result:
    seconds, own = elapsed
    return {"events": events, "seconds": seconds, "events_per_s": events / seconds, "cpu_us": 1e6 * own / events}


MEASUREMENTS: dict[str, Callable[..., Result]] = {
    "raw-hop": raw_hop,
    "choreo-hop": choreo_hop,
    "raw-four": raw_four,
    "choreo-four": choreo_four,
    "latency": latency,
    "fill-memory": fill_memory,
    "memory": memory,
    "join": join,
    "fill": fill_starts,
    "timers": waits.timers,
    "beside": waits.beside,
    "awaiting": waits.awaiting,
}


def main() -> None:
    """Run one measurement."""
    name, bootstrap, *numbers = sys.argv[1:]
    print(json.dumps(MEASUREMENTS[name](bootstrap, *map(int, numbers))))


if __name__ == "__main__":
    main()
