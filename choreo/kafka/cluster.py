"""A cluster of brokers as a `Transport`.

Opening sources, senders and readers on one connection, and the topic calls, live here; which topics are needed does not
(`topics`). `launch` and the publisher make one from settings, and close it when all that it opened is closed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException

# The library does not mark what it hands on from its own modules.
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]

from choreo.errors import BrokerUnavailable, Problem, TopicProblem
from choreo.kafka.connection import CALL_TIMEOUT_S, Connection
from choreo.kafka.failures import error_of, permanent
from choreo.kafka.reader import KafkaReader
from choreo.kafka.restore import restore
from choreo.kafka.sender import KafkaSender
from choreo.kafka.source import KafkaSource
from choreo.transport import Guarantees, Position, Reader, Sender, Source, TopicSpec, TopicState

DESCRIBE_TIMEOUT_S = 10.0
CONFIGS = ("cleanup.policy", "max.message.bytes", "retention.ms")
"""The settings of a topic that choreo looks at."""


class KafkaTransport:
    """Brokers, reached through librdkafka.

    A fresh admin client is made for each topic call: one that outlives a broker's restart answers with stale leader
    epochs.

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
        """Return the topics that exist, of those named or of all, with `CONFIGS`.

        Raises:
            BrokerUnavailable: If no broker answers; retrying helps once one does.
        """
        admin = AdminClient(self._connection.config({}))
        try:
            topics = admin.list_topics(timeout=DESCRIBE_TIMEOUT_S).topics
            asked = topics if names is None else names
            wanted = [name for name in asked if name in topics and not topics[name].error]
            resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in wanted]
            futures = admin.describe_configs(resources, request_timeout=CALL_TIMEOUT_S) if resources else {}
            configs = {resource.name: future.result(CALL_TIMEOUT_S) for resource, future in futures.items()}
        except KafkaException as error:
            # Why the brokers cannot be reached comes to a callback, which is called when the client is polled.
            admin.poll(0)
            cause = error_of(error)
            raise permanent(cause) or BrokerUnavailable(self._connection.reason(cause.str())) from error
        return {
            name: TopicState(
                name,
                len(topics[name].partitions),
                {key: configs[name][key].value for key in CONFIGS if key in configs.get(name, {})},
            )
            for name in wanted
        }

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics; one that exists already is left as it is.

        The controller has them when this returns; another broker may need a moment more to know them.

        Raises:
            BrokerUnavailable: If no broker answers; retrying helps once one does.
            TopicProblem: If a broker refuses one.
        """
        admin = AdminClient(self._connection.config({}))
        wanted = [NewTopic(each.name, each.partitions, each.replication, config=dict(each.config)) for each in specs]
        for name, future in admin.create_topics(wanted, operation_timeout=CALL_TIMEOUT_S).items():
            try:
                future.result(CALL_TIMEOUT_S)
            except KafkaException as error:
                admin.poll(0)
                cause = error_of(error)
                if cause.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    continue
                if cause.code() in {KafkaError._TIMED_OUT, KafkaError._TRANSPORT}:  # noqa: SLF001 - librdkafka's own.
                    raise BrokerUnavailable(self._connection.reason(cause.str())) from error
                problem = Problem("CH084", f"topic {name} cannot be created: {cause.str()}")
                raise permanent(cause, name) or TopicProblem([problem]) from error

    def close(self) -> None:
        """Nothing is held open here: each part closes its own clients."""
