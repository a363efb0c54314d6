"""Topics, their records and consumer groups: all that the clients of one broker in memory share.

Reading in the order of writing, holding topics back and committing live here; the clients' side of it does not
(`memory_broker`, `memory_source`). Every method may be called from any thread.
"""

import threading
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence

from choreo.clock import Clock
from choreo.errors import Problem, TopicProblem
from choreo.testing.memory_transport.consumer_group import CommitFault, CommitTrouble, ConsumerGroup, Reached
from choreo.testing.memory_transport.murmur2 import partition_of
from choreo.testing.memory_transport.partition_log import LogEntry, LogTransaction, PartitionLog
from choreo.topics import missing_topic
from choreo.transport import Commit, Outgoing, Position, Record, TopicSpec, TopicState

Head = tuple[int, Record]
"""The next record of a partition, and its place among all records that were written."""
Pick = Callable[[str, Sequence[Record]], int]
"""Chooses what a group reads next: the index of one of the first records of several partitions."""


class MemoryCluster:
    """What one broker in memory stores."""

    def __init__(self, clock: Clock, pick: Pick | None) -> None:
        self.changed = threading.Condition(threading.RLock())
        """Held while anything is read or changed; notified of every change: hold it to wait for one."""
        self._clock = clock
        self._pick = pick
        self._specs: dict[str, TopicSpec] = {}
        self._logs: dict[str, list[PartitionLog]] = {}
        self._groups: dict[str, ConsumerGroup] = {}
        self._held: set[tuple[str, str]] = set()
        self._sequence = 0
        self._keyless = 0

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
        if wrong := [spec for spec in specs if spec.partitions < 1]:
            raise TopicProblem([Problem("CH084", f"topic {spec.name} cannot have no partition") for spec in wrong])
        with self.changed:
            for spec in specs:
                if spec.name not in self._specs:
                    self._specs[spec.name] = spec
                    self._logs[spec.name] = [PartitionLog() for _ in range(spec.partitions)]
            self.changed.notify_all()

    def hold(self, topic: str, group: str = "") -> None:
        """Give a topic's records to no source, or to none of one group, until released; readers still get them."""
        self.require([topic])
        self._held.add((topic, group))

    def release(self, topic: str, group: str = "") -> None:
        """Take back what `hold` said."""
        with self.changed:
            self._held.discard((topic, group))
            self.changed.notify_all()

    def group(self, name: str) -> ConsumerGroup:
        """Return a consumer group, made at first use."""
        with self.changed:
            return self._groups.setdefault(name, ConsumerGroup())

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has; 0 where there is no such topic."""
        return len(self._logs.get(topic, ()))

    def log(self, position: Position) -> PartitionLog:
        """Return one partition."""
        return self._logs[position[0]][position[1]]

    def compact(self, topic: str) -> None:
        """Compact a topic now, as Kafka does at a time of its own choosing."""
        with self.changed:
            for log in self._logs[topic]:
                log.compact()

    def restore(self, memory_topic: str, numbers: Iterable[int]) -> dict[int, dict[str, bytes]]:
        """Return what these partitions of a memory topic hold: the last value of every key."""
        with self.changed:
            return {number: self.log((memory_topic, number)).latest() for number in numbers}

    def require(self, topics: Iterable[str]) -> None:
        """Refuse topics that do not exist.

        Raises:
            TopicProblem: Naming each of them.
        """
        if missing := sorted({topic for topic in topics if topic not in self._specs}):
            fix = "create it first: nothing is created by itself"
            raise TopicProblem([missing_topic(topic, fix) for topic in missing])

    def write(self, outgoings: Iterable[Outgoing], transaction: LogTransaction | None = None) -> None:
        """Append records; those of a transaction are read once it is committed.

        Raises:
            TopicProblem: Naming every topic and partition that does not exist; nothing was written.
        """
        outgoings = list(outgoings)
        with self.changed:
            self._require_places(outgoings)
            now_ms = int(self._clock.now().timestamp() * 1000)
            for topic, key, value, headers, partition in outgoings:
                number = partition if partition >= 0 else self._partition(topic, key)
                self._sequence += 1
                record = Record(topic, number, 0, key, value, list(headers), now_ms)
                self.log((topic, number)).append(record, self._sequence, transaction)
            self.changed.notify_all()

    def commit_at_once(self, group: ConsumerGroup, commit: Commit, fault: CommitFault) -> None:
        """Commit memory, outputs and offsets in one transaction, as far as a fault lets it come."""
        transaction = LogTransaction()
        # A process that dies in the middle may have written half of it; a transaction that commits commits whole.
        whole = fault.trouble is not CommitTrouble.CRASHED or fault.reached is not Reached.MEMORY
        self.write([*commit.changelog, *(commit.outputs if whole else ())], transaction)
        if fault.trouble is CommitTrouble.ABORTED:
            transaction.abort()
        elif fault.trouble is CommitTrouble.CRASHED:
            group.unfinished.append(transaction)
        else:
            transaction.commit()
            group.committed.update(commit.offsets)

    def commit_in_turn(self, group: ConsumerGroup, commit: Commit, fault: CommitFault) -> None:
        """Commit memory, then outputs, then offsets, as far as a fault lets it come."""
        if fault.trouble is CommitTrouble.ABORTED:
            return
        # Both are checked before either is written, as sizes and topics are before anything is produced.
        self._require_places([*commit.changelog, *commit.outputs])
        self.write(commit.changelog)
        if fault.reached >= Reached.OUTPUTS:
            self.write(commit.outputs)
        if fault.reached >= Reached.OFFSETS:
            group.committed.update(commit.offsets)

    def fetch(self, places: MutableMapping[Position, int], records_max: int, group: str = "") -> list[Record]:
        """Return committed records from these places on, and move the places behind them.

        Args:
            places: The next offset to read, a partition.
            records_max: At most so many.
            group: Who asks; "" for a reader, from whom nothing is held back.
        """
        found: list[LogEntry] = []
        heads = sorted(self._firsts(places, group), key=_sequence)
        while heads and len(found) < records_max:
            index = 0
            if group and self._pick is not None:
                # Any order between partitions is one that Kafka may show.
                index = self._pick(group, _records(entry for entry, _ in heads))
            entry, following = heads.pop(index)
            found.append(entry)
            if (first := next(following, None)) is not None:
                insort(heads, (first, following), key=_sequence)
        records = _records(found)
        for record in records:
            places[record.topic, record.partition] = record.offset + 1
        return records

    def heads(self, places: Mapping[Position, int], group: str) -> list[Head]:
        """Return the next record of each of these places that has one, with its place among all records."""
        with self.changed:
            firsts = [first for first, _ in self._firsts(places, group)]
            return [(entry.sequence, entry.record) for entry in firsts if entry.record is not None]

    def _firsts(self, places: Mapping[Position, int], group: str) -> Iterator[tuple[LogEntry, Iterator[LogEntry]]]:
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

    def _require_places(self, outgoings: Sequence[Outgoing]) -> None:
        self.require(outgoing.topic for outgoing in outgoings)
        beyond = {(each.topic, each.partition) for each in outgoings if each.partition >= self.partitions(each.topic)}
        if beyond:
            raise TopicProblem([Problem("CH080", f"topic {name} has no partition {at}") for name, at in sorted(beyond)])


def _sequence(head: tuple[LogEntry, Iterator[LogEntry]]) -> int:
    return head[0].sequence


def _records(entries: Iterable[LogEntry]) -> list[Record]:
    return [entry.record for entry in entries if entry.record is not None]
