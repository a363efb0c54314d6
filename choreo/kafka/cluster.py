"""A cluster of brokers as a `Transport`.

Opening sources, senders, readers and topic calls on one connection lives here; each of them is a module of its own.
`launch` and the publisher make one from settings, and close it when all that it opened is closed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from choreo.kafka import admin
from choreo.kafka.connection import Connection
from choreo.kafka.reader import KafkaReader
from choreo.kafka.restore import restore
from choreo.kafka.sender import KafkaSender
from choreo.kafka.source import KafkaSource
from choreo.transport import Guarantees, Position, Reader, Sender, Source, TopicSpec, TopicState


class KafkaTransport:
    """Brokers, reached through librdkafka.

    Args:
        config: Client properties, as librdkafka names them; `bootstrap.servers` among them.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._connection = Connection(config)

    @property
    def guarantees(self) -> Guarantees:
        """What real brokers promise."""
        return Guarantees(exactly_once=True, isolation=True, compaction=True, durable=True)

    def source(self, *, group: str, topics: Sequence[str], memory_topic: str, delivery: str, instance: str) -> Source:
        """Join a group; see `Transport.source`.

        Raises:
            BrokerUnavailable: If no broker answers.
            Fenced: If another process with this instance takes over at once.
        """
        return KafkaSource(
            self._connection,
            group=group,
            topics=topics,
            memory_topic=memory_topic,
            exactly_once=delivery == "exactly_once",
            instance=instance,
        )

    def sender(self) -> Sender:
        """Open a way to write from outside."""
        return KafkaSender(self._connection)

    def reader(self, topics: Sequence[str], offsets: Mapping[Position, int] | None = None) -> Reader:
        """Read whole topics; see `Transport.reader`."""
        return KafkaReader(self._connection, topics, offsets or {})

    def restore(self, memory_topic: str, partitions: Iterable[int]) -> dict[int, dict[str, bytes]]:
        """Return what partitions of a memory topic hold, as a source does when it gains them."""
        return restore(self._connection, memory_topic, partitions)

    def describe(self, names: Sequence[str] | None = None) -> dict[str, TopicState]:
        """Return the topics that exist; see `Transport.describe`."""
        return admin.describe(self._connection, names)

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics; see `Transport.create`."""
        admin.create(self._connection, specs)

    def close(self) -> None:
        """Nothing is held open here: each part closes its own clients."""
