"""How bytes travel: the protocols that every transport keeps.

Records, batches and the small protocols for reading, committing and sending live here; no broker, no event and no
saga does. The runtime, the publisher and the tracker call these protocols; `kafka` and `testing` implement them, and
`tests/transport_contract.py` holds every implementation to the same promises.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Headers = list[tuple[str, bytes]]
Position = tuple[str, int]  # A topic's name and a partition's number.


class Record(NamedTuple):
    """One record as it was read."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class Outgoing(NamedTuple):
    """One record to be written. A `partition` of -1 means: murmur2 of the key, as Java does it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int = -1


@dataclass(slots=True)
class Batch:
    """What one poll brought."""

    records: list[Record] = field(default_factory=list)  # In each partition's order; at most as many as were asked for.
    # Partitions that are newly owned, with each one's restored memory (saga_id -> value). A partition that is gained
    # while it is owned replaces what was known of it.
    gained: Mapping[int, dict[str, bytes]] = field(default_factory=dict)
    lost: frozenset[int] = frozenset()  # Partitions no longer owned; applied before `gained`.
    token: object = None  # Ownership as it stood at this poll; handed back with the commit, so that a zombie is fenced.
    # Partitions that are owned and have not been read to where they ended when they were gained.
    behind: frozenset[int] = frozenset()


@dataclass(slots=True)
class Commit:
    """What one batch came to; all of it takes effect, or none."""

    token: object  # The batch's token.
    # Records for the memory topic; acknowledged before `outputs` where there are no transactions.
    changelog: Sequence[Outgoing]
    outputs: Sequence[Outgoing]  # Events, journal notes, ends and dead letters.
    offsets: Mapping[Position, int]  # The next offset to read, for each partition that the batch touched.


class Source(Protocol):
    """One service's way in and out.

    Calls come one at a time, from any thread. `fetch` and `stage` never wait, so that an event loop may make them.
    """

    def poll(self, timeout_s: float, records_max: int) -> Batch:
        """Return what has come, waiting at most `timeout_s` seconds for the first record.

        Raises:
            Fenced: If another process took this one's identity.
        """

    def fetch(self, records_max: int) -> Batch | None:
        """Return what has come already, without waiting; None for nothing, and where only `poll` can tell why.

        Raises nothing: the next `poll` does. What it returns gains and loses no partition.
        """

    def stage(self, commit: Commit) -> Commit:
        """Take of a commit what can be taken without waiting.

        It takes effect with `commit`, which is called next, with what is returned: the rest. What goes wrong here is
        told there.
        """

    def commit(self, commit: Commit) -> None:
        """Make a batch's outcome durable: outputs, memory and offsets, with what was staged of it.

        Raises:
            TransactionAborted: Nothing happened; the source has sought back and the same records come again.
            Fenced: Nothing was published; stop.
        """

    def close(self) -> None:
        """Leave the group. What was not committed is read again by whoever comes next."""


class Sender(Protocol):
    """A way to write records from outside a handler; idempotent, bounded, usable from any thread."""

    def enqueue(self, outgoing: Outgoing, done: Callable[[Exception | None], None]) -> None:
        """Hand one record over; `done` is called once, from another thread, when the brokers have it or gave up.

        Raises:
            BufferFull: If the bounded buffer is full; retrying helps.
        """

    def flush(self, timeout_s: float) -> int:
        """Wait until all is acknowledged; return how many records are still waiting."""

    def close(self) -> None:
        """Flush and close. `done` of every record has been called when this returns."""


class Reader(Protocol):
    """A reader of whole topics that belongs to no group and sees committed records only."""

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """Return what has come, waiting at most `timeout_s` seconds for the first record."""

    def ends(self) -> dict[Position, int]:
        """Return where each partition ends now for this reader, who is not to wait for marks of transactions."""

    def close(self) -> None:
        """Stop reading."""


class TopicSpec(NamedTuple):
    """A topic as it ought to be."""

    name: str
    partitions: int
    replication: int = 1
    config: Mapping[str, str] = {}


class TopicState(NamedTuple):
    """A topic as it is."""

    name: str
    partitions: int
    config: Mapping[str, str] = {}


class Guarantees(NamedTuple):
    """What a transport can promise; the contract suite asserts just what is claimed here."""

    exactly_once: bool
    isolation: bool
    compaction: bool
    durable: bool


class Transport(Protocol):
    """Brokers, reached somehow."""

    @property
    def guarantees(self) -> Guarantees:
        """What these brokers can promise."""

    def source(self, *, group: str, topics: Sequence[str], memory_topic: str, delivery: str, instance: str) -> Source:
        """Join `group` and read `topics`.

        Args:
            group: Consumer group, the service's name.
            topics: All with one partition count.
            memory_topic: The compacted topic that is restored when a partition is gained.
            delivery: "exactly_once" or "at_least_once".
            instance: Stable identity of this process within the group.
        """

    def sender(self) -> Sender:
        """Open a way to write from outside."""

    def reader(self, topics: Sequence[str], offsets: Mapping[Position, int] | None = None) -> Reader:
        """Read whole topics from the given offsets; from the beginning where none is given."""

    def describe(self, names: Sequence[str] | None = None) -> dict[str, TopicState]:
        """Return the topics that exist, of those named or of all.

        Raises:
            BrokerUnavailable: If no broker answers; the message carries the client's last reason.
        """

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics; one that exists already is left as it is."""

    def close(self) -> None:
        """Release every client that was opened here."""
