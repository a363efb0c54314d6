"""The transport in memory, and what tests do to it.

Joining, writing and reading from outside, and asking for faults, live here; what is stored does not (`memory_cluster`),
nor a member of a group (`memory_source`). Tests and `Scenario` use it in place of a cluster: transactions are all or
nothing, nothing uncommitted is read, and the same calls always give the same answers.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256

from choreo.clock import Clock, SystemClock
from choreo.errors import ChoreoError, Problem, TopicProblem
from choreo.testing.memory_transport.consumer_group import CommitFault, CommitTrouble, Reached
from choreo.testing.memory_transport.memory_cluster import MemoryCluster, Pick
from choreo.testing.memory_transport.memory_source import MemorySource
from choreo.transport import Guarantees, Outgoing, Position, Reader, Record, Sender

DELIVERIES = frozenset({"exactly_once", "at_least_once"})


class MemoryBroker(MemoryCluster):
    """A `Transport` in memory. Every method may be called from any thread.

    Args:
        clock: Where records' timestamps come from.
        pick: Chooses which partition a source reads next: given its group and the first record of each partition that
            has something, the index of one of them. Unless given, records come in the order in which they were
            written, whatever their topics.
    """

    def __init__(self, clock: Clock | None = None, pick: Pick | None = None) -> None:
        super().__init__(clock if clock is not None else SystemClock(), pick)
        self._sources: list[MemorySource] = []

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
            self.require([*topics, memory_topic])
            counts = {topic: self.partitions(topic) for topic in (*topics, memory_topic)}
            if len(set(counts.values())) > 1:
                widths = ", ".join(f"{topic} has {count}" for topic, count in counts.items())
                fix = f"bring all of them to {max(counts.values())}"
                raise TopicProblem([Problem("CH081", f"{group}: partition counts differ: {widths}", "", fix)])
            made = MemorySource(self, group, topics, memory_topic, instance, exactly_once=delivery == "exactly_once")
            self._sources.append(made)
            return made

    def sender(self) -> Sender:
        """Open a way to write from outside."""
        return MemorySender(lambda outgoing: self.write([outgoing]))

    def reader(self, topics: Sequence[str], offsets: Mapping[Position, int] | None = None) -> Reader:
        """Read whole topics; see `Transport.reader`."""
        return MemoryReader(self, topics, offsets or {})

    def close(self) -> None:
        """Close every source that was opened here; what is stored stays."""
        for source in self._sources:
            source.close()

    # What tests do to it.

    def records(self, *topics: str) -> list[Record]:
        """Return what a reader of these topics would be given, in the order it was written."""
        with self.changed:
            places = {(topic, number): 0 for topic in topics for number in range(self.partitions(topic))}
            return self.fetch(places, sum(self.log(place).end for place in places))

    def digest(self, *topics: str) -> str:
        """Return a digest of all that is committed to these topics, every byte: equal runs have equal ones."""
        digest = sha256()
        for record in self.records(*topics):
            parts = [record.topic, record.partition, record.offset, record.timestamp_ms, record.key, record.value]
            digest.update(repr((parts, record.headers)).encode())
        return digest.hexdigest()

    def abort_next_commit(self, group: str) -> None:
        """Have the group's next commit aborted: nothing of it happens."""
        self._fault(group, CommitTrouble.ABORTED)

    def lose_commit_response(self, group: str, reached: Reached = Reached.OFFSETS) -> None:
        """Have the group's next commit happen and its response get lost; the source restores its memory.

        A transaction always happens whole, whatever is `reached`.
        """
        self._fault(group, CommitTrouble.UNANSWERED, reached)

    def crash_next_commit(self, group: str, reached: Reached = Reached.OUTPUTS) -> None:
        """Have the source that commits next in the group die in the middle; as on Kafka, its transaction stays open.

        Readers are blocked until another member takes over a partition of the group.
        """
        self._fault(group, CommitTrouble.CRASHED, reached)

    def crash(self, source: MemorySource) -> None:
        """Kill a source: it leaves the group at once, and everything it does from now on is refused."""
        source.end("this process is dead")

    def expire(self, source: MemorySource) -> None:
        """Take a living source for dead: a zombie, whose batch in flight is refused. It joins again when it polls."""
        source.expire()

    def _fault(self, group: str, trouble: CommitTrouble, reached: Reached = Reached.OFFSETS) -> None:
        self.group(group).faults.append(CommitFault(trouble, reached))


class MemorySender:
    """See `Sender`. A record is acknowledged before `enqueue` returns."""

    def __init__(self, write: Callable[[Outgoing], None]) -> None:
        self._write = write
        self._closed = False

    def enqueue(self, outgoing: Outgoing, done: Callable[[Exception | None], None]) -> None:
        """Write one record and say so."""
        if self._closed:
            raise ChoreoError("this sender is closed")
        try:
            self._write(outgoing)
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
    """See `Reader`. Partitions are merged in the order in which they were written; absent topics have none."""

    def __init__(self, cluster: MemoryCluster, topics: Sequence[str], offsets: Mapping[Position, int]) -> None:
        self._cluster = cluster
        with cluster.changed:
            places = ((topic, number) for topic in topics for number in range(cluster.partitions(topic)))
            self._next = {place: offsets.get(place, 0) for place in places}

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """Return what has come; see `Reader.poll`."""
        with self._cluster.changed:
            found = partial(self._cluster.fetch, self._next, records_max)
            return self._cluster.changed.wait_for(found, timeout_s) if self._next else []

    def ends(self) -> dict[Position, int]:
        """Return where each partition ends for this reader, who is not to wait for the mark of a transaction."""
        with self._cluster.changed:
            return {position: self._cluster.log(position).end_for(at) for position, at in self._next.items()}

    def close(self) -> None:
        """Stop reading."""
        self._next = {}
