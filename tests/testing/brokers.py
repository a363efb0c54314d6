"""A broker in memory with a few topics, and short ways to write, poll and commit."""

from collections.abc import Mapping
from typing import Any

from choreo.testing import MemoryBroker
from choreo.testing.memory_transport import MemorySource
from choreo.transport import Batch, Commit, Outgoing, Position, TopicSpec

PARTITIONS = 4
TOPICS = ("orders", "payments", "shop.memory", "out")


def broker(**options: Any) -> MemoryBroker:
    made = MemoryBroker(**options)
    made.create([TopicSpec(name, PARTITIONS) for name in TOPICS])
    return made


def member(at: MemoryBroker, instance: str = "a", delivery: str = "exactly_once") -> MemorySource:
    return at.source(
        group="shop", topics=["orders", "payments"], memory_topic="shop.memory", delivery=delivery, instance=instance
    )


def put(at: MemoryBroker, topic: str, *texts: str, partition: int = 0, key: str = "k") -> None:
    at.write(Outgoing(topic, key.encode(), text.encode(), [], partition) for text in texts)


def texts(batch_or_topic: Batch | tuple[MemoryBroker, str]) -> list[str]:
    if isinstance(batch_or_topic, Batch):
        return [(record.value or b"").decode() for record in batch_or_topic.records]
    at, topic = batch_or_topic
    return [(record.value or b"").decode() for record in at.records(topic)]


def outcome(
    batch: Batch, *outputs: str, memory: str | None = None, offsets: Mapping[Position, int] | None = None
) -> Commit:
    """Return a commit of all that a batch brought, with these outputs and this memory of saga `s`."""
    read = {(record.topic, record.partition): record.offset + 1 for record in batch.records}
    changelog = [] if memory is None else [Outgoing("shop.memory", b"s", memory.encode(), [], 0)]
    written = [Outgoing("out", b"s", text.encode(), [], 0) for text in outputs]
    return Commit(batch.token, changelog, written, read if offsets is None else offsets)
