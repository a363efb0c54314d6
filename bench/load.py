"""Filling topics before a measurement, emptying them after it, and reading what came out."""

import contextlib
import time
import uuid
from collections.abc import Collection

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.events import OrderPlaced, order
from choreo.codec import encoder

PARTITIONS = 6
CLEAN_TIMEOUT_S = 60.0


def create_topics(bootstrap: str, *names: str, compact: bool = False) -> None:
    """Create topics that do not exist yet."""
    config = {"cleanup.policy": "compact" if compact else "delete"}
    admin = AdminClient({"bootstrap.servers": bootstrap})
    existing = _topics(admin)
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


def clean(bootstrap: str, *, keep: Collection[str] = (), beginnings: tuple[str, ...] = ("bench", "choreo.")) -> None:
    """Delete the topics whose names begin so, and wait until the broker has forgotten them.

    A run must not read what an earlier one wrote: events on the topics downstream, ends, manifests, memories.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap})
    deadline = time.monotonic() + CLEAN_TIMEOUT_S
    while found := [name for name in _topics(admin) if name.startswith(beginnings) and name not in keep]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"topics remain: {found}")
        for future in admin.delete_topics(found).values():
            # One that is on its way out already is refused; the look after this one decides.
            with contextlib.suppress(KafkaException):
                future.result(30)
        time.sleep(0.1)


def at_the_end(bootstrap: str, topic: str) -> Consumer:
    """Return a read_committed consumer of what is committed to `topic` from now on."""
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
    return consumer


def _topics(admin: AdminClient) -> list[str]:
    return list(admin.list_topics(timeout=30).topics)
