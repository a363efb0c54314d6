"""The public Kafka image, started as testcontainers does it: on a port that is known only afterwards."""

import asyncio
import os
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer
from testcontainers.core.container import DockerContainer

from choreo import Event, Publisher, Saga, Service, Settings, running

IMAGE = "apache/kafka:4.3.1"
# The broker must advertise the port that Docker chose, so it waits for a file that says it.
WAIT_FOR_ADDRESS = (
    "while [ ! -s /tmp/address ]; do sleep 0.1; done; "
    "export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://$(cat /tmp/address); exec /etc/kafka/docker/run"
)
# Any variable of this family drops all defaults of the image.
ENVIRONMENT = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@127.0.0.1:9093",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
}

pytestmark = [
    pytest.mark.docker,
    pytest.mark.xdist_group("docker"),
    pytest.mark.timeout(300),
    pytest.mark.skipif("CHOREO_TEST_DOCKER" not in os.environ, reason="make test-docker runs it"),
]


@pytest.fixture(scope="module")
def kafka() -> Iterator[str]:
    container = DockerContainer(IMAGE).with_exposed_ports(9092).with_command(["sh", "-c", WAIT_FOR_ADDRESS])
    for name, value in ENVIRONMENT.items():
        container = container.with_env(name, value)
    with container:
        address = f"127.0.0.1:{container.get_exposed_port(9092)}"
        container.exec(["sh", "-c", f"echo {address} > /tmp/address"])
        yield address


class Asked(Event, topic="questions"):
    number: int


class Answered(Event, topic="answers"):
    number: int


oracle = Service("oracle")
oracle.owns(Saga("question", starts=Asked, completes=Answered, key="number"))


@oracle.handles
def answer(asked: Asked) -> Answered:
    return Answered(number=asked.number)


def answers(address: str, wanted: int, timeout_s: float) -> list[bytes]:
    """Return the keys of the first committed answers, read by a consumer that knows nothing of choreo."""
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "reader",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["answers"])
    found: list[bytes] = []
    deadline = time.monotonic() + timeout_s
    while len(found) < wanted and time.monotonic() < deadline:
        record = consumer.poll(0.2)
        if record is not None and record.error() is None:
            found.append(record.key())
    consumer.close()
    return found


async def test_a_service_runs_on_the_public_image(kafka: str) -> None:
    settings = Settings(bootstrap_servers=kafka, partitions=3)
    async with running(oracle, settings=settings, create_topics=True) as live:
        await live.wait_ready()
        async with Publisher(oracle, settings=settings) as publisher:
            saga_ids = [await publisher.publish_async(Asked(number=number)) for number in range(20)]
            await publisher.publish_async(Asked(number=0))
        found = await asyncio.to_thread(answers, kafka, 20, 60)

    assert sorted(key.decode() for key in found) == sorted(saga_ids)
