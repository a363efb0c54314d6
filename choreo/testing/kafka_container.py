"""A real Kafka in a container, for tests that need one.

Starting Kafka's public image on a port that Docker picks, and saying why that is not possible here, live here; what
is done with it does not. The `choreo_kafka` fixture calls it, and nothing of it is loaded before.
"""

import gc
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from choreo.errors import BrokerUnavailable, ChoreoError
from choreo.kafka import KafkaTransport

IMAGE = "apache/kafka:4.3.1"
START_TIMEOUT_S = 60.0
NAP_S = 0.2
PORT = 9092
# The broker must advertise the port that Docker chose, so it waits for a file that says it.
_WAIT_FOR_ADDRESS = (
    "while [ ! -s /tmp/address ]; do sleep 0.1; done; "
    "export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://$(cat /tmp/address),INSIDE://127.0.0.1:9094; "
    "exec /etc/kafka/docker/run"
)
# Any variable of this family drops all defaults of the image.
_ENVIRONMENT = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_LISTENERS": f"PLAINTEXT://0.0.0.0:{PORT},CONTROLLER://127.0.0.1:9093,INSIDE://127.0.0.1:9094",
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


class NoContainer(ChoreoError):
    """No container can be started here; the message says why."""


@contextmanager
def kafka_container(image: str = IMAGE) -> Iterator[str]:
    """Start a broker and yield its bootstrap servers; it is removed afterwards, with all it held.

    Args:
        image: Kafka's public image, in the version that is wanted.

    Raises:
        NoContainer: If testcontainers is not installed, there is no Docker, or the broker does not answer in time.
    """
    container, reason = _started(image)
    if reason:
        _sweep()
        raise NoContainer(reason)
    try:
        address = f"127.0.0.1:{container.get_exposed_port(PORT)}"
        container.exec(["sh", "-c", f"echo {address} > /tmp/address"])
        _wait_for(address)
        yield address
    finally:
        container.stop()


def _started(image: str) -> tuple[Any, str]:  # testcontainers is there or not, and has no types to be known here.
    """Return a container that runs, or why there is none; an exception would keep what Docker's client left open."""
    # Its helper that removes containers is an image of its own, which may be out of reach; ours are removed above.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    try:
        core = import_module("testcontainers.core.container")
    except ImportError as error:
        return None, f"testcontainers is not installed: {error}"
    try:
        made = core.DockerContainer(image)
    except Exception as error:  # noqa: BLE001 - whatever Docker's client is led into.
        return None, f"there is no Docker: {error}"
    made = made.with_exposed_ports(PORT).with_command(["sh", "-c", _WAIT_FOR_ADDRESS])
    for name, value in _ENVIRONMENT.items():
        made = made.with_env(name, value)
    try:
        return made.start(), ""
    except Exception as error:  # noqa: BLE001 - no daemon, no image, no rights.
        return None, f"{image} cannot be started: {error}"


def _sweep() -> None:
    """Collect the socket that Docker's client leaves open where no daemon listens.

    Collected later, it would be a ResourceWarning within a later test, which fails where warnings are errors.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _wait_for(address: str) -> None:
    transport = KafkaTransport({"bootstrap.servers": address})
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            transport.describe([])
        except BrokerUnavailable as error:
            if time.monotonic() > deadline:
                raise NoContainer(f"Kafka at {address} does not answer: {error}") from error
            time.sleep(NAP_S)
        else:
            return
