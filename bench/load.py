"""Filling topics before a measurement, and reading what came out."""

import time
import uuid
from collections.abc import Iterator

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.events import OrderPlaced, order
from choreo.codec import encoder

PARTITIONS = 6


def create_topics(bootstrap: str, *names: str, compact: bool = False) -> None:
    """Create topics that do not exist yet."""
    config = {"cleanup.policy": "compact" if compact else "delete"}
    admin = AdminClient({"bootstrap.servers": bootstrap})
    existing = admin.list_topics(timeout=30).topics
    wanted = [NewTopic(name, PARTITIONS, 1, config=config) for name in names if name not in existing]
    if wanted:
        for future in admin.create_topics(wanted).values():
            future.result(30)


def headers_for(saga_id: str, n: int) -> list[tuple[str, bytes]]:
    """Return the CloudEvents headers of a start, as another program would write them."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(uuid.uuid5(uuid.UUID(saga_id), "start")).encode()),
        ("ce_type", OrderPlaced.__choreo_type__.encode()),
        ("ce_source", b"/bench"),
        ("ce_time", b"2026-01-01T00:00:00Z"),
        ("ce_subject", f"order-{n}".encode()),
        ("ce_sagaid", saga_id.encode()),
        ("ce_sagatype", b"bench"),
        ("content-type", b"application/avro"),
    ]


def fill(bootstrap: str, count: int) -> None:
    """Write `count` starts of distinct sagas to the first topic."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 20,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
            "enable.idempotence": True,
        }
    )
    encode = encoder(OrderPlaced)
    for n in range(count):
        saga_id = str(uuid.uuid4())
        producer.produce(
            OrderPlaced.__choreo_topic__, key=saga_id, value=encode(order(n)), headers=headers_for(saga_id, n)
        )
        if n % 1000 == 0:
            producer.poll(0)
    left = producer.flush(120)
    if left:
        raise RuntimeError(f"{left} records were not written")


def committed(bootstrap: str, topic: str) -> Iterator[tuple[bytes | None, float]]:
    """Yield (key, perf_counter) of each record committed to `topic` from now on; (None, now) while there is none."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader-{uuid.uuid4().hex}",
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 10,
        }
    )
    ends = []
    for partition in range(PARTITIONS):
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
        ends.append(TopicPartition(topic, partition, high))
    consumer.assign(ends)
    while True:
        message = consumer.poll(0.5)
        if message is None:
            yield None, time.perf_counter()
        elif not message.error():
            yield message.key(), time.perf_counter()
