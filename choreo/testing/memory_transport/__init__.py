"""A transport in memory that keeps Kafka's promises, but for durability.

`memory_broker` is the transport and what tests do to it; `memory_cluster` keeps topics and groups, `memory_source` is
one member of a group, and `partition_log` and `consumer_group` are what they consist of. Scenarios and tests use it in
place of a real cluster.
"""

from choreo.testing.memory_transport.consumer_group import CommitTrouble, Reached
from choreo.testing.memory_transport.memory_broker import MemoryBroker
from choreo.testing.memory_transport.memory_source import MemorySource

__all__ = ["CommitTrouble", "MemoryBroker", "MemorySource", "Reached"]
