"""Kafka's public image as a broker for tests, on a port that Docker picks.

Starting it through testcontainers and finding out whether that is possible here live here; brokers without Docker are
`brokers`'s. The session's `kafka` fixture and the tests of containers use it.
"""

import contextlib
import os
from collections.abc import Iterator

from tests.brokers import NoKafka, wait_for

IMAGE = "apache/kafka:4.3.1"
PING_TIMEOUT_S = 5
# The broker must advertise the port that Docker chose, so it waits for a file that says it.
WAIT_FOR_ADDRESS = (
    "while [ ! -s /tmp/address ]; do sleep 0.1; done; "
    "export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://$(cat /tmp/address),INSIDE://127.0.0.1:9094; exec /etc/kafka/docker/run"
)
# Any variable of this family drops all defaults of the image.
ENVIRONMENT = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093,INSIDE://127.0.0.1:9094",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,INSIDE:PLAINTEXT",
    # The broker writes its transactions' marks to itself, and cannot reach the port that Docker chose from within.
    "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@127.0.0.1:9093",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
    "KAFKA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS": "500",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "500",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
}


def why_no_docker() -> str:
    """Return why no container of Kafka can be started here; "" if one can. It pulls the image where it is missing."""
    import docker
    from docker.errors import DockerException, ImageNotFound

    try:
        with contextlib.closing(docker.from_env(timeout=PING_TIMEOUT_S)) as client:
            client.ping()
            with contextlib.suppress(ImageNotFound):
                client.images.get(IMAGE)
                return ""
        with contextlib.closing(docker.from_env()) as client:
            client.images.pull(IMAGE)
    except (DockerException, OSError) as error:
        return f"Docker: {error}"
    return ""


@contextlib.contextmanager
def docker_kafka() -> Iterator[str]:
    """Start a broker in a container and yield its address; the container is removed afterwards.

    Raises:
        NoKafka: If there is no daemon, no image, or the broker does not answer.
    """
    if reason := why_no_docker():
        raise NoKafka(reason)
    # Its helper that removes containers is an image of its own, which may be out of reach.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(IMAGE).with_exposed_ports(9092).with_command(["sh", "-c", WAIT_FOR_ADDRESS])
    for name, value in ENVIRONMENT.items():
        container = container.with_env(name, value)
    with container:
        address = f"127.0.0.1:{container.get_exposed_port(9092)}"
        container.exec(["sh", "-c", f"echo {address} > /tmp/address"])
        wait_for(address)
        yield address
