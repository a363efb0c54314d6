"""A broker inside the process: librdkafka's mock cluster, reached over real sockets by the same client code.

Starting it, and creating topics on it, lives here. It keeps 5 MiB a partition in memory and ignores transactions'
isolation and compaction, so it proves no exactly-once claim and says so in its guarantees; `choreo demo` and `choreo
dev` run on it.
"""

import ctypes
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import confluent_kafka

from choreo.errors import BrokerUnavailable
from choreo.kafka.cluster import KafkaTransport
from choreo.transport import Guarantees, TopicSpec, TopicState

_PRODUCER = 0
_ERROR_CHARS = 512
_JOIN_DELAY = "rd_kafka_mock_group_initial_rebalance_delay_ms"
"""Older librdkafka has no such function, and no such delay."""
_POINTER, _TEXT, _SIZE, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int
_SIGNATURES: Mapping[str, tuple[Any, ...]] = {
    "rd_kafka_conf_new": (_POINTER,),
    "rd_kafka_conf_set": (_INT, _POINTER, _TEXT, _TEXT, _TEXT, _SIZE),
    "rd_kafka_new": (_POINTER, _INT, _POINTER, _TEXT, _SIZE),
    "rd_kafka_destroy": (None, _POINTER),
    "rd_kafka_mock_cluster_new": (_POINTER, _POINTER, _INT),
    "rd_kafka_mock_cluster_destroy": (None, _POINTER),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, _POINTER),
    "rd_kafka_mock_topic_create": (_INT, _POINTER, _TEXT, _INT, _INT),
    _JOIN_DELAY: (None, _POINTER, ctypes.c_int32),
}
"""What each function of librdkafka that the mock needs returns and takes; ctypes has no name for the type of that."""


class EmbeddedTransport(KafkaTransport):
    """A transport on a mock cluster of librdkafka's, in this process's memory; `close` ends both.

    Args:
        config: Client properties, as librdkafka names them.

    Attributes:
        bootstrap_servers: Where other clients of this host reach it.

    Raises:
        BrokerUnavailable: If the client's library cannot be found or will not start it; retrying does not help.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self._library = _library()
        self._created: dict[str, TopicState] = {}
        error = ctypes.create_string_buffer(_ERROR_CHARS)
        client = self._library.rd_kafka_conf_new()
        # The handle only hosts the cluster: it never connects, and what it would log is of no use to anybody.
        for name, value in ((b"log_level", b"0"), (b"log.queue", b"true")):
            self._library.rd_kafka_conf_set(client, name, value, error, _ERROR_CHARS)
        self._handle = self._library.rd_kafka_new(_PRODUCER, client, error, _ERROR_CHARS)
        if not self._handle:
            raise BrokerUnavailable(f"the embedded broker did not start: {error.value.decode(errors='replace')}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, 1)
        if not self._cluster:
            self._library.rd_kafka_destroy(self._handle)
            raise BrokerUnavailable("the embedded broker did not start")
        if hasattr(self._library, _JOIN_DELAY):
            # A group that has just formed would wait three seconds for members that never come.
            self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap_servers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        super().__init__({**(config or {}), "bootstrap.servers": self.bootstrap_servers})

    @property
    def guarantees(self) -> Guarantees:
        """What the mock promises: order and at-least-once delivery while the process lives, and no more."""
        return Guarantees(exactly_once=False, isolation=False, compaction=False, durable=False)

    def describe(self, names: Sequence[str] | None = None) -> dict[str, TopicState]:
        """Return the topics that were created; asking the mock for a topic would create it."""
        return {name: state for name, state in self._created.items() if names is None or name in names}

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics; one that exists already is left as it is.

        Raises:
            BrokerUnavailable: If this is closed.
        """
        if not self._cluster:
            raise BrokerUnavailable("the embedded broker is closed")
        for spec in specs:
            if spec.name not in self._created:
                self._library.rd_kafka_mock_topic_create(self._cluster, spec.name.encode(), spec.partitions, 1)
                self._created[spec.name] = TopicState(spec.name, spec.partitions, dict(spec.config))

    def close(self) -> None:
        """End the cluster; everything on it is gone."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._handle)
            self._cluster = None


def _library() -> ctypes.CDLL:
    """Return the very library that the client uses, typed: a second copy would not know its structures.

    Raises:
        BrokerUnavailable: If it cannot be found.
    """
    package = Path(confluent_kafka.__file__).parent
    folders = (package.parent / "confluent_kafka.libs", package / ".dylibs", package)
    found = [path for folder in folders for path in sorted(folder.glob("librdkafka*"))]
    if not found and sys.platform == "linux":
        lines = Path("/proc/self/maps").read_text().splitlines()
        found = [Path(line.split(maxsplit=5)[5]) for line in lines if "librdkafka" in line]
    if not found:
        raise BrokerUnavailable(
            "the embedded broker needs the librdkafka that comes in confluent-kafka's wheels, and none was found; "
            "use a real Kafka: --bootstrap-server host:port"
        )
    library = ctypes.CDLL(str(found[0]))
    for name, (result, *arguments) in _SIGNATURES.items():
        if hasattr(library, name):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    return library
