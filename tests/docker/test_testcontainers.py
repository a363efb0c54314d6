"""The public Kafka image, started as testcontainers does it: on a port that is known only afterwards."""

import asyncio
import os
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer

from choreo import Event, Publisher, Saga, Service, Settings, running
from tests.brokers_docker import docker_kafka

pytestmark = [
    pytest.mark.docker,
    pytest.mark.xdist_group("docker"),
    pytest.mark.timeout(300),
    pytest.mark.skipif("CHOREO_TEST_DOCKER" not in os.environ, reason="make test-docker runs it"),
]


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    with docker_kafka() as address:
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


async def test_a_service_runs_on_the_public_image(container: str) -> None:
    settings = Settings(bootstrap_servers=container, partitions=3)
    async with running(oracle, settings=settings, create_topics=True) as live:
        await live.wait_ready()
        async with Publisher(oracle, settings=settings) as publisher:
            saga_ids = [await publisher.publish_async(Asked(number=number)) for number in range(20)]
            await publisher.publish_async(Asked(number=0))
        found = await asyncio.to_thread(answers, container, 20, 60)

    assert sorted(key.decode() for key in found) == sorted(saga_ids)
