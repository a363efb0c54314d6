"""Kafka: bytes in and out, exactly once.

Everything that touches confluent-kafka lives here and nowhere else; it moves records and knows nothing of events.
`launch` and the publisher make a `KafkaTransport` from settings; the embedded broker speaks through the same code.
"""

from choreo.kafka.cluster import KafkaTransport
from choreo.kafka.embedded import EmbeddedTransport

__all__ = ["EmbeddedTransport", "KafkaTransport"]
