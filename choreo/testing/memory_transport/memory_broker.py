"""The transport in memory, and what tests do to it.

Joining, writing and reading from outside, and asking for faults, live here; what is stored does not (`memory_cluster`),
nor a member of a group (`memory_source`). Tests and `Scenario` use it in place of a cluster: transactions are all or
nothing, nothing uncommitted is read, and the same calls always give the same answers.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256

from choreo.clock import Clock, SystemClock
from choreo.errors import ChoreoError, Problem, TopicProblem
from choreo.testing.memory_transport.consumer_group import CommitFault, CommitTrouble, Reached
from choreo.testing.memory_transport.memory_cluster import MemoryCluster, Pick
from choreo.testing.memory_transport.memory_source import MemorySource
from choreo.transport import Guarantees, Outgoing, Position, Reader, Record, Sender, TopicSpec, TopicState

DELIVERIES = frozenset({"exactly_once", "at_least_once"})


class MemoryBroker:
    """A `Transport` in memory. Every method may be called from any thread.

    Args:
        clock: Where records' timestamps come from.
        pick: Chooses which partition a source reads next: given its group and the first record of each partition that
            has something, the index of one of them. Unless given, records come in the order in which they were
            written, whatever their topics.
    """

    def __init__(self, clock: Clock | None = None, pick: Pick | None = None) -> None:
        self.cluster = MemoryCluster(clock if clock is not None else SystemClock(), pick)
        """Its topics, records and groups."""
        self._sources: list[MemorySource] = []

    @property
    def changed(self) -> threading.Condition:
        """Notified of every change; hold it to wait for one."""
        return self.cluster.changed

    @property
    def guarantees(self) -> Guarantees:
        """What is promised here: everything but to survive the process."""
        return Guarantees(exactly_once=True, isolation=True, compaction=True, durable=False)

    # What every transport has.

    def source(
        self,
        *,
        group: str,
        topics: Sequence[str],
        memory_topic: str,
        delivery: str = "exactly_once",
        instance: str = "0",
    ) -> MemorySource:
        """Join a group; see `Transport.source`. An equal instance that is there already is fenced.

        Returns:
            A source, which `crash` and `expire` take.

        Raises:
            TopicProblem: If a topic does not exist, or the topics' partition counts differ.
            ValueError: If `delivery` is neither "exactly_once" nor "at_least_once".
        """
        if delivery not in DELIVERIES:
            raise ValueError(f"delivery={delivery!r} is not one of {', '.join(sorted(DELIVERIES))}")
        with self.changed:
            self.cluster.require([*topics, memory_topic])
            counts = {topic: self.cluster.partitions(topic) for topic in (*topics, memory_topic)}
            if len(set(counts.values())) > 1:
                widths = ", ".join(f"{topic} has {count}" for topic, count in counts.items())
                fix = f"bring all of them to {max(counts.values())}"
                raise TopicProblem([Problem("CH081", f"{group}: partition counts differ: {widths}", "", fix)])
            made = MemorySource(
                self.cluster,
                number=len(self._sources),
                group=group,
                topics=topics,
                memory_topic=memory_topic,
                exactly_once=delivery == "exactly_once",
                instance=instance,
            )
            self._sources.append(made)
            return made

    def sender(self) -> Sender:
        """Open a way to write from outside."""
        return MemorySender(self.cluster)

    def reader(self, topics: Sequence[str], offsets: Mapping[Position, int] | None = None) -> Reader:
        """Read whole topics; see `Transport.reader`."""
        return MemoryReader(self.cluster, topics, offsets or {})

    def describe(self, names: Sequence[str] | None = None) -> dict[str, TopicState]:
        """Return the topics that exist; see `Transport.describe`."""
        return self.cluster.describe(names)

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics; one that exists already is left as it is.

        Raises:
            TopicProblem: If a topic is to have no partition.
        """
        self.cluster.create(specs)

    def close(self) -> None:
        """Close every source that was opened here; what is stored stays."""
        for source in self._sources:
            source.close()

    # What tests do to it.

    def write(self, outgoings: Iterable[Outgoing]) -> None:
        """Append records from outside.

        Raises:
            TopicProblem: If a topic or partition does not exist; nothing was written.
        """
        self.cluster.write(outgoings)

    def records(self, *topics: str) -> list[Record]:
        """Return what a reader of these topics would be given, in the order it was written."""
        cluster = self.cluster
        with self.changed:
            places = {(topic, number): 0 for topic in topics for number in range(cluster.partitions(topic))}
            return cluster.fetch(places, sum(cluster.log(place).end for place in places))

    def restore(self, memory_topic: str, numbers: Iterable[int]) -> dict[int, dict[str, bytes]]:
        """Return what these partitions of a memory topic hold: the last value of every key."""
        return self.cluster.latest(memory_topic, numbers)

    def digest(self, *topics: str) -> str:
        """Return a digest of all that is committed to these topics, every byte: equal runs have equal ones."""
        digest = sha256()
        for record in self.records(*topics):
            parts = [record.topic, record.partition, record.offset, record.timestamp_ms, record.key, record.value]
            digest.update(repr((parts, record.headers)).encode())
        return digest.hexdigest()

    def hold(self, topic: str, group: str = "") -> None:
        """Give a topic's records to no source, or to none of one group, until released; readers still get them."""
        self.cluster.hold(topic, group)

    def release(self, topic: str, group: str = "") -> None:
        """Take back what `hold` said."""
        self.cluster.release(topic, group)

    def abort_next_commit(self, group: str) -> None:
        """Have the group's next commit aborted: nothing of it happens."""
        self._fault(group, CommitTrouble.ABORTED)

    def lose_commit_response(self, group: str, reached: Reached = Reached.OFFSETS) -> None:
        """Have the group's next commit happen and its response get lost; the source restores its memory.

        Args:
            group: The group.
            reached: How far it comes in `at_least_once`; a transaction always happens whole.
        """
        self._fault(group, CommitTrouble.UNANSWERED, reached)

    def crash_next_commit(self, group: str, reached: Reached = Reached.OUTPUTS) -> None:
        """Have the source that commits next in the group die in the middle; as on Kafka, its transaction stays open.

        Readers are blocked until another member takes over a partition of the group.

        Args:
            group: The group.
            reached: How far it comes.
        """
        self._fault(group, CommitTrouble.CRASHED, reached)

    def crash(self, source: MemorySource) -> None:
        """Kill a source: it leaves the group at once, and everything it does from now on is refused."""
        with self.changed:
            source.expire()
            source.end(f"{source.group}: this process is dead")
            self.changed.notify_all()

    def expire(self, source: MemorySource) -> None:
        """Take a living source for dead: a zombie, whose batch in flight is refused. It joins again when it polls."""
        with self.changed:
            source.expire()
            self.changed.notify_all()

    def compact(self, topic: str) -> None:
        """Compact a topic now, as Kafka does at a time of its own choosing."""
        self.cluster.compact(topic)

    def _fault(self, group: str, trouble: CommitTrouble, reached: Reached = Reached.OFFSETS) -> None:
        self.cluster.group(group).faults.append(CommitFault(trouble, reached))


class MemorySender:
    """See `Sender`. A record is acknowledged before `enqueue` returns."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster
        self._closed = False

    def enqueue(self, outgoing: Outgoing, done: Callable[[Exception | None], None]) -> None:
        """Write one record and say so."""
        if self._closed:
            raise ChoreoError("this sender is closed")
        try:
            self._cluster.write([outgoing])
        except TopicProblem as error:
            done(error)
        else:
            done(None)

    def flush(self, timeout_s: float) -> int:  # noqa: ARG002 - nothing ever waits here.
        """Return 0: nothing waits."""
        return 0

    def close(self) -> None:
        """Close it; closing twice is fine."""
        self._closed = True


class MemoryReader:
    """See `Reader`. Partitions are merged in the order in which they were written.

    Args:
        cluster: Where to read.
        topics: Those that do not exist are passed over.
        offsets: Where to begin; 0 where nothing is said.
    """

    def __init__(self, cluster: MemoryCluster, topics: Sequence[str], offsets: Mapping[Position, int]) -> None:
        self._cluster = cluster
        with cluster.changed:
            places = [(topic, number) for topic in topics for number in range(cluster.partitions(topic))]
            self._next = {place: offsets.get(place, 0) for place in places}

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """Return what has come; see `Reader.poll`."""
        deadline = time.monotonic() + timeout_s
        with self._cluster.changed:
            while True:
                records = self._cluster.fetch(self._next, records_max)
                left_s = deadline - time.monotonic()
                if records or left_s <= 0 or not self._next:
                    return records
                self._cluster.changed.wait(left_s)

    def ends(self) -> dict[Position, int]:
        """Return where each partition ends for this reader, who is not to wait for the mark of a transaction."""
        with self._cluster.changed:
            return {position: self._cluster.log(position).end_for(at) for position, at in self._next.items()}

    def close(self) -> None:
        """Stop reading."""
        self._next = {}
