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


class EmbeddedCluster:
    """A mock cluster of librdkafka's, in this process's memory.

    Args:
        brokers: How many brokers it pretends to be.

    Raises:
        BrokerUnavailable: If the client's library cannot be found or will not start it; retrying does not help.
    """

    def __init__(self, brokers: int = 1) -> None:
        self._library = _library()
        error = ctypes.create_string_buffer(_ERROR_CHARS)
        config = self._library.rd_kafka_conf_new()
        # The handle only hosts the cluster: it never connects, and what it would log is of no use to anybody.
        for name, value in ((b"log_level", b"0"), (b"log.queue", b"true")):
            self._library.rd_kafka_conf_set(config, name, value, error, _ERROR_CHARS)
        self._handle = self._library.rd_kafka_new(_PRODUCER, config, error, _ERROR_CHARS)
        if not self._handle:
            raise BrokerUnavailable(f"the embedded broker did not start: {error.value.decode(errors='replace')}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, brokers)
        if not self._cluster:
            self._library.rd_kafka_destroy(self._handle)
            raise BrokerUnavailable("the embedded broker did not start")
        self.bootstrap_servers = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        if self._library.has_join_delay:
            # A group that has just formed would wait three seconds for members that never come.
            self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic; one that exists already is left as it is.

        Raises:
            BrokerUnavailable: If the cluster is closed or refuses.
        """
        if not self._cluster:
            raise BrokerUnavailable("the embedded broker is closed")
        self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)

    def close(self) -> None:
        """Stop it; everything on it is gone."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._handle)
            self._cluster = None


class EmbeddedTransport(KafkaTransport):
    """A transport on an embedded cluster of its own; `close` ends both.

    Args:
        config: Client properties, as librdkafka names them.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.cluster = EmbeddedCluster()
        self._created: dict[str, TopicState] = {}
        super().__init__({**(config or {}), "bootstrap.servers": self.cluster.bootstrap_servers})

    @property
    def guarantees(self) -> Guarantees:
        """What the mock promises: order and at-least-once delivery while the process lives, and no more."""
        return Guarantees(exactly_once=False, isolation=False, compaction=False, durable=False)

    def describe(self, names: Sequence[str] | None = None) -> dict[str, TopicState]:
        """Return the topics that were created; asking the mock for a topic would create it."""
        return {name: state for name, state in self._created.items() if names is None or name in names}

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics; one that exists already is left as it is."""
        for spec in specs:
            if spec.name not in self._created:
                self.cluster.create_topic(spec.name, spec.partitions)
                self._created[spec.name] = TopicState(spec.name, spec.partitions, dict(spec.config))

    def close(self) -> None:
        """End the cluster."""
        super().close()
        self.cluster.close()


class _Library:
    """The functions of librdkafka that the mock needs, typed.

    Args:
        path: The shared library that confluent-kafka itself has loaded.
    """

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        pointer, text, size, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int

        def bound(name: str, result: object, *arguments: object) -> "ctypes._NamedFuncPointer":
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            return function  # type: ignore[no-any-return]

        self.rd_kafka_conf_new = bound("rd_kafka_conf_new", pointer)
        self.rd_kafka_conf_set = bound("rd_kafka_conf_set", number, pointer, text, text, text, size)
        self.rd_kafka_new = bound("rd_kafka_new", pointer, number, pointer, text, size)
        self.rd_kafka_destroy = bound("rd_kafka_destroy", None, pointer)
        self.rd_kafka_mock_cluster_new = bound("rd_kafka_mock_cluster_new", pointer, pointer, number)
        self.rd_kafka_mock_cluster_destroy = bound("rd_kafka_mock_cluster_destroy", None, pointer)
        self.rd_kafka_mock_cluster_bootstraps = bound("rd_kafka_mock_cluster_bootstraps", text, pointer)
        self.rd_kafka_mock_topic_create = bound("rd_kafka_mock_topic_create", number, pointer, text, number, number)
        # Older librdkafka has no such function, and no such delay.
        delay = "rd_kafka_mock_group_initial_rebalance_delay_ms"
        self.has_join_delay = hasattr(library, delay)
        if self.has_join_delay:
            self.rd_kafka_mock_group_initial_rebalance_delay_ms = bound(delay, None, pointer, ctypes.c_int32)


def _library() -> _Library:
    """Return the very library that the client uses: a second copy would not know its structures."""
    package = Path(confluent_kafka.__file__).parent
    folders = (package.parent / "confluent_kafka.libs", package / ".dylibs", package)
    for folder in folders:
        for path in sorted(folder.glob("librdkafka*")):
            return _Library(path)
    for line in Path("/proc/self/maps").read_text().splitlines() if sys.platform == "linux" else ():
        if "librdkafka" in line:
            return _Library(Path(line.split(maxsplit=5)[5]))
    raise BrokerUnavailable(
        "the embedded broker needs the librdkafka that comes in confluent-kafka's wheels, and none was found; "
        "use a real Kafka: --bootstrap-server host:port"
    )
