"""Running small services on a real Kafka, and looking at what came of it with a consumer that knows nothing of choreo."""

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from choreo import Service, Settings

DEADLINE_S = 30.0
QUICK = {"session.timeout.ms": "2000", "heartbeat.interval.ms": "300"}
JOURNAL, ENDS = "choreo.journal", "choreo.ends"


def settings(servers: str, prefix: str, **chosen: Any) -> Settings:
    chosen = {"partitions": 6, "instance": f"{prefix}0", "kafka": QUICK, **chosen}
    return Settings(bootstrap_servers=servers, **chosen)


class Seen(NamedTuple):
    """One committed record."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes | None
    headers: dict[str, str]

    @property
    def kind(self) -> str:
        return self.headers.get("ce_type", "").rpartition(".")[2]

    @property
    def note(self) -> dict[str, Any]:
        return dict(json.loads(self.value or b"{}"))


class Log:
    """Everything that topics hold, as far as it has been read."""

    def __init__(self, kafka: str, topics: Sequence[str]) -> None:
        self._kafka = kafka
        self.records: list[Seen] = []
        self._passed: dict[tuple[str, int], int] = {}
        config = {
            "bootstrap.servers": kafka,
            "group.id": f"log-{uuid.uuid4().hex}",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 0,
        }
        self._consumer = Consumer(config)
        self._asking = Consumer(config)
        found = self._consumer.list_topics(timeout=10).topics
        self._places = [TopicPartition(topic, number, 0) for topic in topics for number in found[topic].partitions]
        self._consumer.assign(self._places)

    def close(self) -> None:
        self._consumer.close()
        self._asking.close()

    def of(self, saga_id: str, topic: str = "") -> list[Seen]:
        return [each for each in self.records if each.key == saga_id and topic in ("", each.topic)]

    def kinds(self, saga_id: str) -> list[str]:
        """Return the event types of a saga, sorted; notes and ends are no events."""
        return sorted(each.kind for each in self.of(saga_id) if not each.topic.startswith("choreo."))

    def count(self, kind: str) -> int:
        return sum(each.kind == kind for each in self.records)

    def notes(self, saga_id: str) -> list[str]:
        return sorted(each.note["note"] for each in self.of(saga_id, JOURNAL))

    async def until(self, fulfilled: Callable[[], Any], deadline_s: float = DEADLINE_S) -> None:
        """Read until something holds; fail where it does not in time."""
        deadline = time.monotonic() + deadline_s
        while True:
            await asyncio.to_thread(self._poll)
            if fulfilled():
                return
            assert time.monotonic() < deadline, [(each.topic, each.key, each.kind) for each in self.records[-40:]]

    async def until_kinds(self, saga_id: str, *kinds: str) -> None:
        await self.until(lambda: set(kinds) <= set(self.kinds(saga_id)))

    async def until_consumed(self, *services: Service) -> None:
        """Wait until services have committed everything that the topics which they read hold: nothing more can come."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            await asyncio.to_thread(self._read_all)
            count = len(self.records)
            behind = [each.name for each in services if await asyncio.to_thread(self._behind, each.name)]
            await asyncio.to_thread(self._read_all)
            if not behind and len(self.records) == count:
                return
            assert time.monotonic() < deadline, behind

    def _poll(self) -> None:
        message = self._consumer.poll(0.05)
        for each in (message, *self._consumer.consume(10_000, 0.01)) if message is not None else ():
            if each.error() is not None:
                if each.error().code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(each.error())
                self._passed[each.topic(), each.partition()] = each.offset()
                continue
            headers = {name: value.decode("utf-8", "replace") for name, value in each.headers() or []}
            key = (each.key() or b"").decode("utf-8", "replace")
            self.records.append(Seen(each.topic(), each.partition(), each.offset(), key, each.value(), headers))

    def _read_all(self) -> None:
        """Read to where the topics ended when this was called, marks of transactions included."""
        asked = [(each, self._asking.get_watermark_offsets(each, timeout=10)[1]) for each in self._places]
        ends = {(each.topic, each.partition): high for each, high in asked if high > 0}
        deadline = time.monotonic() + DEADLINE_S
        while any(self._passed.get(place, -1) < high for place, high in ends.items()):
            assert time.monotonic() < deadline, (ends, self._passed)
            self._poll()

    def _behind(self, group: str) -> bool:
        """Whether a group has something left to commit of a topic that it reads."""
        asking = Consumer({"bootstrap.servers": self._kafka, "group.id": group})
        try:
            committed = asking.committed(self._places, timeout=10)
        finally:
            asking.close()
        offsets = {(each.topic, each.partition): each.offset for each in committed}
        reads = {topic for (topic, _), offset in offsets.items() if offset >= 0}
        return any(each.topic in reads and each.offset >= offsets[each.topic, each.partition] for each in self.records)
