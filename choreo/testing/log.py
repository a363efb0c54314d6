"""One partition of a topic, as a broker keeps it.

Records with their offsets, transactions with the marks they leave and compaction live here; topics, groups and
clients do not. `broker` appends and reads, always under its own lock.
"""

from bisect import bisect_left
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

from choreo.transport import Record


class Fate(Enum):
    """What becomes of a transaction."""

    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


class Transaction:
    """What is written all at once or not at all."""

    __slots__ = ("fate", "logs")

    def __init__(self) -> None:
        self.fate = Fate.OPEN
        self.logs: dict[int, PartitionLog] = {}

    def end(self, fate: Fate) -> None:
        """Let readers see all of it, or never any of it. Its mark takes an offset in each partition, as on Kafka."""
        self.fate = fate
        for log in self.logs.values():
            log.mark(self)
        self.logs.clear()


class Entry(NamedTuple):
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
    transaction: Transaction | None


class PartitionLog:
    """The entries of one partition, in order."""

    __slots__ = ("_entries", "_open", "end", "tip")

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._open: dict[Transaction, int] = {}
        self.end = 0
        self.tip = 0
        """Behind the last record that is committed: a reader that stands there has nothing to look for."""

    @property
    def stable_end(self) -> int:
        """Where a read_committed reader stops: at the first open transaction."""
        return min(self._open.values()) if self._open else self.end

    def append(self, record: Record, sequence: int, transaction: Transaction | None) -> None:
        """Add a record, whose offset is set here."""
        record = record._replace(offset=self.end)
        self._entries.append(Entry(self.end, sequence, record, transaction))
        self.end += 1
        if transaction is None:
            self.tip = self.end
        else:
            self._open.setdefault(transaction, record.offset)
            transaction.logs[id(self)] = self

    def mark(self, transaction: Transaction) -> None:
        """End a transaction here."""
        del self._open[transaction]
        if transaction.fate is Fate.COMMITTED:
            last = next(each for each in reversed(self._entries) if each.transaction is transaction)
            self.tip = max(self.tip, last.offset + 1)
        self._entries.append(Entry(self.end, 0, None, transaction))
        self.end += 1

    def committed(self, offset: int) -> Iterator[Entry]:
        """Yield the records from `offset` on that a read_committed reader is given."""
        stop = self.stable_end
        entries = self._entries
        # Nothing is searched for where nothing has been compacted: there the place is the offset.
        index = offset if len(entries) == self.end else bisect_left(entries, offset, key=_offset)
        # What is appended meanwhile is seen by the next call.
        for index in range(index, len(entries)):  # noqa: B020 - it begins where it was found.
            entry = entries[index]
            if entry.offset >= stop:
                return
            if entry.record is not None and (entry.transaction is None or entry.transaction.fate is Fate.COMMITTED):
                yield entry

    def end_for(self, offset: int) -> int:
        """Return where a reader that stands at `offset` will stand when it has read all: marks count for nothing."""
        stop = self.stable_end
        if not self._open or self.tip <= offset:
            return max(self.tip, offset)
        for entry in reversed(self._entries):
            if entry.offset < offset:
                break
            committed = entry.transaction is None or entry.transaction.fate is Fate.COMMITTED
            if entry.offset < stop and entry.record is not None and committed:
                return entry.offset + 1
        return offset

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
        kept: list[Entry] = []
        for entry in reversed(self._entries):
            if entry.offset >= stop:
                kept.append(entry)
            elif entry.record is not None and (entry.transaction is None or entry.transaction.fate is Fate.COMMITTED):
                if entry.record.key not in seen and entry.record.value is not None:
                    kept.append(entry)
                seen.add(entry.record.key)
        kept.reverse()
        self._entries = kept
        # A tombstone that was last is gone: nobody is to wait for it.
        self.tip = max((entry.offset + 1 for entry in self.committed(0)), default=0)


def _offset(entry: Entry) -> int:
    return entry.offset
