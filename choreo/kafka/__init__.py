"""Kafka: bytes in and out, exactly once.

Everything that touches confluent-kafka lives here and nowhere else; it moves records and knows nothing of events.
`launch` and the publisher make a `KafkaTransport` from settings; the embedded broker speaks through the same code.
"""

from choreo.kafka.embedded import EmbeddedTransport
from choreo.kafka.transport import KafkaTransport

__all__ = ["EmbeddedTransport", "KafkaTransport"]
