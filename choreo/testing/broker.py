"""A broker in memory that keeps Kafka's promises, but for durability.

Topics, their records and what every client shares live here; groups, logs and the clients have modules of their own.
Tests and `Scenario` use it in place of a cluster: transactions are all or nothing, nothing uncommitted is read, and
the same calls always give the same answers.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from hashlib import sha256
from heapq import heapify, heappop, heapreplace

from choreo.clock import Clock, SystemClock
from choreo.errors import Problem, TopicProblem
from choreo.testing.clients import MemoryReader, MemorySender
from choreo.testing.group import Fault, Group, Reached, Trouble
from choreo.testing.log import Entry, PartitionLog, Transaction
from choreo.testing.murmur2 import partition_of
from choreo.testing.source import MemorySource
from choreo.transport import Guarantees, Outgoing, Position, Reader, Record, Sender, Source, TopicSpec, TopicState

DELIVERIES = frozenset({"exactly_once", "at_least_once"})
Head = tuple[int, Record]
"""The next record of a partition, and when it was written, counted over all topics."""
Pick = Callable[[str, Sequence[Record]], int]
"""Chooses what a group reads next, of the first records of several partitions."""


class MemoryBroker:
    """A `Transport` in memory. Every method may be called from any thread.

    Args:
        clock: Where records' timestamps come from.
        pick: Chooses which partition a source reads next: given its group and the first record of each partition that
            has something, the place of one of them. Unless given, records come in the order in which they were
            written, whatever their topics.
    """

    def __init__(self, clock: Clock | None = None, pick: Pick | None = None) -> None:
        self.changed = threading.Condition(threading.RLock())
        """Held by whoever looks at or changes the broker; notified of every change."""
        self._clock = clock if clock is not None else SystemClock()
        self._pick = pick
        self._specs: dict[str, TopicSpec] = {}
        self._logs: dict[str, list[PartitionLog]] = {}
        self._groups: dict[str, Group] = {}
        self._held: set[tuple[str, str]] = set()
        self._sources: list[MemorySource] = []
        self._sequence = 0
        self._keyless = 0

    @property
    def guarantees(self) -> Guarantees:
        """What is promised here: everything but to survive the process."""
        return Guarantees(exactly_once=True, isolation=True, compaction=True, durable=False)

    # What every transport has.

    def source(self, *, group: str, topics: Sequence[str], memory_topic: str, delivery: str, instance: str) -> Source:
        """Join a group; see `Transport.source`. An equal instance that is there already is fenced.

        Raises:
            TopicProblem: If a topic does not exist, or the topics' partition counts differ.
            ValueError: If `delivery` is neither "exactly_once" nor "at_least_once".
        """
        return self.member(group=group, topics=topics, memory_topic=memory_topic, delivery=delivery, instance=instance)

    def member(
        self,
        *,
        group: str,
        topics: Sequence[str],
        memory_topic: str,
        delivery: str = "exactly_once",
        instance: str = "0",
    ) -> MemorySource:
        """Join a group as `source` does, and return what faults can be done to."""
        if delivery not in DELIVERIES:
            raise ValueError(f"delivery={delivery!r} is not one of {', '.join(sorted(DELIVERIES))}")
        with self.changed:
            self._require([*topics, memory_topic])
            counts = {self.partitions(topic) for topic in (*topics, memory_topic)}
            if len(counts) > 1:
                told = ", ".join(f"{topic} has {self.partitions(topic)}" for topic in (*topics, memory_topic))
                fix = f"bring all of them to {max(counts)}"
                raise TopicProblem([Problem("CH081", f"{group}: partition counts differ: {told}", "", fix)])
            made = MemorySource(
                self,
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
        return MemorySender(self)

    def reader(self, topics: Sequence[str], offsets: Mapping[Position, int] | None = None) -> Reader:
        """Read whole topics; see `Transport.reader`."""
        return MemoryReader(self, topics, offsets or {})

    def describe(self, names: Sequence[str] | None = None) -> dict[str, TopicState]:
        """Return the topics that exist; see `Transport.describe`."""
        with self.changed:
            wanted = self._specs if names is None else [name for name in names if name in self._specs]
            return {name: TopicState(name, len(self._logs[name]), dict(self._specs[name].config)) for name in wanted}

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics; one that exists already is left as it is.

        Raises:
            TopicProblem: If a topic is to have no partition.
        """
        if wrong := [each for each in specs if each.partitions < 1]:
            raise TopicProblem([Problem("CH084", f"topic {each.name} cannot have no partition") for each in wrong])
        with self.changed:
            for each in specs:
                if each.name not in self._specs:
                    self._specs[each.name] = each
                    self._logs[each.name] = [PartitionLog() for _ in range(each.partitions)]
            self.changed.notify_all()

    def close(self) -> None:
        """Close every source that was opened here; what is stored stays."""
        for each in self._sources:
            each.close()

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

    def hold(self, topic: str, group: str = "") -> None:
        """Give a topic's records to no source, or to none of one group, until released; readers still get them."""
        self._require([topic])
        self._held.add((topic, group))

    def release(self, topic: str, group: str = "") -> None:
        """Take back what `hold` said."""
        with self.changed:
            self._held.discard((topic, group))
            self.changed.notify_all()

    def abort_next_commit(self, group: str) -> None:
        """Have the group's next commit aborted: nothing of it happens."""
        self.group(group).faults.append(Fault(Trouble.ABORTED))

    def lose_commit_response(self, group: str, reached: Reached = Reached.OFFSETS) -> None:
        """Have the group's next commit happen without its source being told; it restores its memory.

        Args:
            group: The group.
            reached: How far it comes in `at_least_once`; a transaction always happens whole.
        """
        self.group(group).faults.append(Fault(Trouble.UNANSWERED, reached))

    def crash_next_commit(self, group: str, reached: Reached = Reached.OUTPUTS) -> None:
        """Have whoever commits next in the group die in the middle; a transaction is left open, as Kafka leaves it.

        It stays open, and blocks readers, until somebody takes over a partition of the group.

        Args:
            group: The group.
            reached: How far it comes.
        """
        self.group(group).faults.append(Fault(Trouble.CRASHED, reached))

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
        with self.changed:
            for log in self._logs[topic]:
                log.compact()

    # What its clients call.

    def group(self, name: str) -> Group:
        """Return a consumer group, made at first use."""
        with self.changed:
            return self._groups.setdefault(name, Group())

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has; 0 where there is no such topic."""
        return len(self._logs.get(topic, ()))

    def log(self, position: Position) -> PartitionLog:
        """Return one partition."""
        return self._logs[position[0]][position[1]]

    def restore(self, memory_topic: str, numbers: Iterable[int]) -> dict[int, dict[str, bytes]]:
        """Return what these partitions of a memory topic hold: the last value of every key."""
        with self.changed:
            return {number: self.log((memory_topic, number)).latest() for number in numbers}

    def require(self, outgoings: Iterable[Outgoing]) -> None:
        """Refuse records whose place does not exist.

        Raises:
            TopicProblem: Naming every topic and partition that is missing.
        """
        outgoings = list(outgoings)
        self._require(outgoing.topic for outgoing in outgoings)
        beyond = {(each.topic, each.partition) for each in outgoings if each.partition >= self.partitions(each.topic)}
        if beyond:
            raise TopicProblem([Problem("CH080", f"topic {name} has no partition {at}") for name, at in sorted(beyond)])

    def write(self, outgoings: Iterable[Outgoing], transaction: Transaction | None = None) -> None:
        """Append records; those of a transaction are read once it is committed.

        Raises:
            TopicProblem: If a place does not exist; nothing was written.
        """
        outgoings = list(outgoings)
        with self.changed:
            self.require(outgoings)
            now_ms = int(self._clock.now().timestamp() * 1000)
            for topic, key, value, headers, partition in outgoings:
                number = partition if partition >= 0 else self._partition(topic, key)
                self._sequence += 1
                record = Record(topic, number, 0, key, value, list(headers), now_ms)
                self.log((topic, number)).append(record, self._sequence, transaction)
            self.changed.notify_all()

    def fetch(self, places: MutableMapping[Position, int], records_max: int, group: str = "") -> list[Record]:
        """Return committed records from these places on, and move the places behind them.

        Args:
            places: The next offset to read, a partition.
            records_max: At most so many.
            group: Who asks; "" for a reader, from whom nothing is held back.
        """
        found: list[Entry] = []
        heads = [(first.sequence, first, entries) for first, entries in self._firsts(places, group)]
        heapify(heads)
        while heads and len(found) < records_max:
            if group and self._pick is not None:
                # Any order between partitions is one that Kafka may show.
                index = self._pick(group, _records(entry for _, entry, _ in heads))
                _, entry, entries = heads.pop(index)
                if (following := next(entries, None)) is not None:
                    heads.insert(index, (following.sequence, following, entries))
            else:
                _, entry, entries = heads[0]
                if (following := next(entries, None)) is not None:
                    heapreplace(heads, (following.sequence, following, entries))
                else:
                    heappop(heads)
            found.append(entry)
        records = _records(found)
        for record in records:
            places[record.topic, record.partition] = record.offset + 1
        return records

    def heads(self, places: Mapping[Position, int], group: str) -> list[Head]:
        """Return the next record of each of these places that has one, with its place in all that was written."""
        with self.changed:
            firsts = [first for first, _ in self._firsts(places, group)]
            return [(each.sequence, each.record) for each in firsts if each.record is not None]

    def _firsts(self, places: Mapping[Position, int], group: str) -> Iterator[tuple[Entry, Iterator[Entry]]]:
        """Yield the next committed entry of each place that has one and is not held back, with those behind it."""
        logs = self._logs
        for (topic, number), offset in places.items():
            log = logs[topic][number]
            if log.tip <= offset or self._is_held(topic, group):
                continue
            entries = log.committed(offset)
            if (first := next(entries, None)) is not None:
                yield first, entries

    def _is_held(self, topic: str, group: str) -> bool:
        return bool(group) and ((topic, "") in self._held or (topic, group) in self._held)

    def _partition(self, topic: str, key: bytes | None) -> int:
        if key is not None:
            return partition_of(key, self.partitions(topic))
        self._keyless += 1
        return self._keyless % self.partitions(topic)

    def _require(self, topics: Iterable[str]) -> None:
        missing = sorted({topic for topic in topics if topic not in self._specs})
        if missing:
            fix = "create it first: nothing is created by itself"
            raise TopicProblem([Problem("CH080", f"topic {topic} does not exist", "", fix) for topic in missing])


def _records(entries: Iterable[Entry]) -> list[Record]:
    return [entry.record for entry in entries if entry.record is not None]
