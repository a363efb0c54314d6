"""Writing and reading in memory without a group.

The sender and the reader of the broker in memory live here; the source, which is a member of a group, does not.
Publishers, the tracker and tests get them from the broker.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from choreo.errors import ChoreoError, TopicProblem
from choreo.transport import Outgoing, Position, Record

if TYPE_CHECKING:
    from choreo.testing.broker import MemoryBroker


class MemorySender:
    """See `Sender`. A record is acknowledged before `enqueue` returns."""

    def __init__(self, broker: "MemoryBroker") -> None:
        self._broker = broker
        self._closed = False

    def enqueue(self, outgoing: Outgoing, done: Callable[[Exception | None], None]) -> None:
        """Write one record and say so."""
        if self._closed:
            raise ChoreoError("this sender is closed")
        try:
            self._broker.write([outgoing])
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
        broker: Where to read.
        topics: Those that do not exist are passed over.
        offsets: Where to begin; 0 where nothing is said.
    """

    def __init__(self, broker: "MemoryBroker", topics: Sequence[str], offsets: Mapping[Position, int]) -> None:
        self._broker = broker
        with broker.changed:
            self._next = {
                (topic, number): offsets.get((topic, number), 0)
                for topic in topics
                for number in range(broker.partitions(topic))
            }

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """Return what has come; see `Reader.poll`."""
        deadline = time.monotonic() + timeout_s
        with self._broker.changed:
            while True:
                records = self._broker.fetch(self._next, records_max)
                left_s = deadline - time.monotonic()
                if records or left_s <= 0 or not self._next:
                    return records
                self._broker.changed.wait(left_s)

    def ends(self) -> dict[Position, int]:
        """Return where each partition ends for this reader: a transaction's mark is nothing that it waits for."""
        with self._broker.changed:
            return {position: self._broker.log(position).end_for(at) for position, at in self._next.items()}

    def close(self) -> None:
        """Stop reading."""
        self._next = {}
