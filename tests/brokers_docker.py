"""Kafka's public image as the session's broker, where Docker can run it.

Whether it can be tried here at once lives here; starting the container is `choreo.testing.kafka_container`'s. The session's
`kafka` fixture and the tests of containers use it.
"""

import contextlib
from collections.abc import Iterator

from choreo.testing.kafka_container import NoContainer, kafka_container
from tests.brokers import NoKafka


@contextlib.contextmanager
def docker_kafka() -> Iterator[str]:
    """Start a broker in a container and yield its address; the container is removed afterwards.

    Raises:
        NoKafka: If there is no daemon, no image, or the broker does not answer.
    """
    with contextlib.ExitStack() as stack:
        try:
            address = stack.enter_context(kafka_container())
        except NoContainer as error:
            raise NoKafka(f"Docker: {error}") from error
        yield address
