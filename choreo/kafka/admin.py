"""Topics: what exists, and making what does not.

The admin calls live here; which topics are needed does not (`topics`). A fresh admin client is made for each call,
because one that outlives a broker's restart answers with stale leader epochs.
"""

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException

# The library does not mark what it hands on from its own modules.
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]

from choreo.errors import BrokerUnavailable, Problem, TopicProblem
from choreo.kafka.connection import CALL_TIMEOUT_S, Connection
from choreo.kafka.failures import error_of, permanent
from choreo.transport import TopicSpec, TopicState

DESCRIBE_TIMEOUT_S = 10.0
CONFIGS = ("cleanup.policy", "max.message.bytes", "retention.ms")


def describe(connection: Connection, names: Sequence[str] | None = None) -> dict[str, TopicState]:
    """Return the topics that exist, of those named or of all, with the settings that choreo looks at.

    Raises:
        BrokerUnavailable: If no broker answers; retrying helps once one does.
    """
    admin = AdminClient(connection.config({}))
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
        raise permanent(cause) or BrokerUnavailable(connection.reason(cause.str())) from error
    return {
        name: TopicState(
            name,
            len(topics[name].partitions),
            {key: configs[name][key].value for key in CONFIGS if key in configs.get(name, {})},
        )
        for name in wanted
    }


def create(connection: Connection, specs: Sequence[TopicSpec]) -> None:
    """Create topics; one that exists already is left as it is.

    The controller has them when this returns; another broker may need a moment more to know them.

    Raises:
        BrokerUnavailable: If no broker answers; retrying helps once one does.
        TopicProblem: If a broker refuses one.
    """
    admin = AdminClient(connection.config({}))
    wanted = [NewTopic(each.name, each.partitions, each.replication, config=dict(each.config)) for each in specs]
    for name, future in admin.create_topics(wanted, operation_timeout=CALL_TIMEOUT_S).items():
        try:
            future.result(CALL_TIMEOUT_S)
        except KafkaException as error:
            admin.poll(0)
            code = error_of(error).code()
            if code == KafkaError.TOPIC_ALREADY_EXISTS:
                continue
            if code in {KafkaError._TIMED_OUT, KafkaError._TRANSPORT}:  # noqa: SLF001 - librdkafka's own codes.
                raise BrokerUnavailable(connection.reason(error_of(error).str())) from error
            problem = Problem("CH084", f"topic {name} cannot be created: {error_of(error).str()}", "", "")
            raise permanent(error_of(error), name) or TopicProblem([problem]) from error
