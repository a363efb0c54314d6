"""One partition of a topic, as a broker keeps it.

Records with their offsets, transactions with the marks they leave and compaction live here; topics, groups and
clients do not. `memory_cluster` appends and reads, always under its own lock.
"""

from bisect import bisect_left
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from choreo.transport import Record

_offset = attrgetter("offset")


class LogTransaction:
    """What is written all at once or not at all. Its mark takes an offset in each partition, as on Kafka."""

    __slots__ = ("committed", "logs")

    def __init__(self) -> None:
        self.committed = False
        self.logs: dict[int, PartitionLog] = {}

    def commit(self) -> None:
        """Let readers see all of it."""
        self.committed = True
        self.abort()

    def abort(self) -> None:
        """End it; of what is not committed, readers never see anything."""
        for log in self.logs.values():
            log.mark(self)
        self.logs.clear()


class LogEntry(NamedTuple):
    """One offset of a partition.

    Attributes:
        offset: Its place; places of compacted entries stay empty.
        sequence: Counts all appends of the broker, so that partitions can be read in the order they were written.
        record: The record; None for a transaction's mark.
        transaction: What it was written in, if anything.
    """

    offset: int
    sequence: int
    record: Record | None
    transaction: LogTransaction | None

    @property
    def committed(self) -> bool:
        """Whether it is a record that read_committed readers see, once no transaction before it is open."""
        return self.record is not None and (self.transaction is None or self.transaction.committed)


class PartitionLog:
    """The entries of one partition, in order."""

    __slots__ = ("_entries", "_open", "end", "tip")

    def __init__(self) -> None:
        self._entries: list[LogEntry] = []
        self._open: dict[LogTransaction, int] = {}
        self.end = 0
        self.tip = 0
        """Behind the last record that is committed: a reader that stands there has nothing to look for."""

    @property
    def stable_end(self) -> int:
        """Where a read_committed reader stops: at the first open transaction."""
        return min(self._open.values()) if self._open else self.end

    def append(self, record: Record, sequence: int, transaction: LogTransaction | None) -> None:
        """Add a record, whose offset is set here."""
        record = record._replace(offset=self.end)
        self._entries.append(LogEntry(self.end, sequence, record, transaction))
        self.end += 1
        if transaction is None:
            self.tip = self.end
        else:
            self._open.setdefault(transaction, record.offset)
            transaction.logs[id(self)] = self

    def mark(self, transaction: LogTransaction) -> None:
        """End a transaction here."""
        del self._open[transaction]
        if transaction.committed:
            last = next(entry for entry in reversed(self._entries) if entry.transaction is transaction)
            self.tip = max(self.tip, last.offset + 1)
        self._entries.append(LogEntry(self.end, 0, None, transaction))
        self.end += 1

    def committed(self, offset: int) -> Iterator[LogEntry]:
        """Yield the records from `offset` on that a read_committed reader is given."""
        stop = self.stable_end
        entries = self._entries
        # Where nothing has been compacted, the place of an entry is its offset.
        begin = offset if len(entries) == self.end else bisect_left(entries, offset, key=_offset)
        # What is appended meanwhile is seen by the next call.
        for index in range(begin, len(entries)):
            entry = entries[index]
            if entry.offset >= stop:
                return
            if entry.committed:
                yield entry

    def end_for(self, offset: int) -> int:
        """Return where a reader that stands at `offset` will stand when it has read all: marks count for nothing."""
        if not self._open or self.tip <= offset:
            return max(self.tip, offset)
        return max((entry.offset + 1 for entry in self.committed(offset)), default=offset)

    def latest(self) -> dict[str, bytes]:
        """Return the last committed value of every key; a tombstone leaves none."""
        found: dict[str, bytes] = {}
        for entry in self.committed(0):
            if entry.record is None or entry.record.key is None:
                continue
            key = entry.record.key.decode()
            if entry.record.value is None:
                found.pop(key, None)
            else:
                found[key] = entry.record.value
        return found

    def compact(self) -> None:
        """Drop what a later record of the same key replaces, and what was aborted; offsets stay as they are."""
        stop = self.stable_end
        seen: set[bytes | None] = set()
        kept: list[LogEntry] = []
        for entry in reversed(self._entries):
            if entry.offset >= stop:
                kept.append(entry)
            elif entry.record is not None and entry.committed:
                if entry.record.key not in seen and entry.record.value is not None:
                    kept.append(entry)
                seen.add(entry.record.key)
        self._entries = kept[::-1]
        # No reader waits for a tombstone that was last and is gone.
        self.tip = max((entry.offset + 1 for entry in self.committed(0)), default=0)
