"""The Kafka that the session's tests share, and names that no other test has."""

import contextlib
import itertools
import os
import time
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from choreo.kafka import cluster
from tests.brokers import KafkaCluster, NoKafka, without_kafka
from tests.brokers_docker import docker_kafka

WARM_TIMEOUT_S = 60.0
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Return the bootstrap servers of a real Kafka: the environment's, Docker's, or Java's."""
    with contextlib.ExitStack() as stack:
        address = os.environ.get("CHOREO_TEST_BOOTSTRAP_SERVERS") or _started(stack)
        _warm(address)
        yield address


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on brokers that are not there after two seconds instead of ten."""
    monkeypatch.setattr(cluster, "DESCRIBE_TIMEOUT_S", 2.0)


@pytest.fixture
def prefix() -> str:
    """Return a beginning for the names of topics, groups and services that no other test has."""
    return f"t{uuid.uuid4().hex[:8]}-{next(_numbers)}-"


def _started(stack: contextlib.ExitStack) -> str:
    reasons = []
    for start in (docker_kafka, _java_kafka):
        try:
            return stack.enter_context(start())
        except NoKafka as error:
            reasons.append(str(error))
    return without_kafka(f"NO REAL KAFKA, so nothing was proved on one: {'; '.join(reasons)}")


@contextlib.contextmanager
def _java_kafka() -> Iterator[str]:
    with KafkaCluster() as cluster:
        yield cluster.bootstrap_servers


def _warm(address: str) -> None:
    """Commit one transaction with offsets: the first one waits until the broker has made its own topics."""
    topic = f"warm-{uuid.uuid4().hex[:8]}"
    client = AdminClient({"bootstrap.servers": address})
    client.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    consumer = Consumer({"bootstrap.servers": address, "group.id": topic})
    offsets = [TopicPartition(topic, 0, 0)]
    deadline = time.monotonic() + WARM_TIMEOUT_S
    while True:
        try:
            # Asked for before the transaction, which would fail while the group's coordinator loads.
            consumer.committed(offsets, timeout=5)
            producer = Producer({"bootstrap.servers": address, "transactional.id": topic, "retry.backoff.ms": 10})
            producer.init_transactions(10)
            producer.begin_transaction()
            producer.produce(topic, b"warm")
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 5)
            producer.commit_transaction(10)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
        else:
            break
    consumer.close()
