"""One partition that a process owns: the memories of its sagas, and what is to be done about them, soonest first.

Which sagas have a timer due, which may be forgotten (SEMANTICS 5) and whose outputs may have to be published again live
here; what is done about that does not (`engine`). A heap keeps what was added to it when a timer is called off or a
batch is taken back: an entry counts only as long as the memory says the same, so that nothing has to be searched for.
"""

import heapq
from collections.abc import Mapping

from choreo.memory import MemoryFlag, peek

SWEEP_MAX = 500
"""Sagas that one batch forgets; the rest are due in the next one."""
WOKEN_MAX = 1000
"""Sagas that one batch wakes, likewise."""


class Schedule:
    """The sagas of one partition that have a timer, by when their next one is due."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []

    def restore(self, memories: Mapping[str, bytes]) -> None:
        """Take up every timer of a restored partition."""
        self._heap = [(due_ms, saga_id) for saga_id, data in memories.items() if (due_ms := peek(data).due_ms)]
        heapq.heapify(self._heap)

    def set(self, saga_id: str, due_ms: int) -> None:
        """Take up a saga whose next timer is due then."""
        heapq.heappush(self._heap, (due_ms, saga_id))

    def next_ms(self, memories: Mapping[str, bytes]) -> int | None:
        """Return when the next timer is due, in milliseconds since 1970; None where there is none."""
        while self._heap:
            due_ms, saga_id = self._heap[0]
            data = memories.get(saga_id)
            if data is not None and peek(data).due_ms == due_ms:
                return due_ms
            heapq.heappop(self._heap)
        return None

    def due(self, memories: Mapping[str, bytes], now_ms: int, most: int = WOKEN_MAX) -> list[str]:
        """Return sagas to wake now, the longest due first.

        What it returns leaves the heap: call `set` again for what could not be committed.
        """
        found: dict[str, None] = {}
        while len(found) < most and (due_ms := self.next_ms(memories)) is not None and due_ms <= now_ms:
            found[heapq.heappop(self._heap)[1]] = None
        return list(found)


class Retention:
    """The sagas of one partition that have ended, by when they may be forgotten.

    Args:
        remember_ms: How long an ended saga is remembered, in milliseconds.
    """

    def __init__(self, remember_ms: int) -> None:
        self._remember_ms = remember_ms
        self._heap: list[tuple[int, str]] = []

    def restore(self, memories: Mapping[str, bytes]) -> None:
        """Take up every ended saga of a restored partition."""
        self._heap = [
            (ended_ms + self._remember_ms, saga_id)
            for saga_id, data in memories.items()
            if (ended_ms := peek(data).ended_ms)
        ]
        heapq.heapify(self._heap)

    def ended(self, saga_id: str, ended_ms: int) -> None:
        """Take up a saga whose end has just been read."""
        heapq.heappush(self._heap, (ended_ms + self._remember_ms, saga_id))

    def due(self, memories: Mapping[str, bytes], now_ms: int) -> list[str]:
        """Return up to `SWEEP_MAX` sagas to forget now.

        What it returns leaves the heap: call `ended` again for what could not be committed.
        """
        found: list[str] = []
        while self._heap and self._heap[0][0] <= now_ms and len(found) < SWEEP_MAX:
            _, saga_id = heapq.heappop(self._heap)
            head = peek(memories.get(saga_id, b""))
            if not head.ended_ms:
                continue
            if head.flags & MemoryFlag.BUSY:
                # A step is retrying or waits for a person: looked at again one remembering later, however long.
                heapq.heappush(self._heap, (now_ms + max(self._remember_ms, 1), saga_id))
            else:
                found.append(saga_id)
        return found


class OwnedPartition:
    """One partition, from when it is gained to when it is lost.

    Args:
        memories: saga_id → encoded memory, as they were restored.
        remember_ms: How long an ended saga is remembered, in milliseconds.
        at_least_once: Outputs that a memory speaks of may not have been published (SEMANTICS 10).

    Attributes:
        offsets: The next offset to read of each topic, once something of it has been committed.
        owed: Sagas with outputs that are to be published again: the process before may not have published them.
        vouched: Sagas whose outputs this process has seen published, which their memories do not say yet.
    """

    def __init__(self, memories: dict[str, bytes], remember_ms: int, *, at_least_once: bool) -> None:
        self.memories = memories
        self.retention = Retention(remember_ms)
        self.retention.restore(memories)
        self.schedule = Schedule()
        self.schedule.restore(memories)
        self.offsets: dict[str, int] = {}
        owed = (saga_id for saga_id, data in memories.items() if peek(data).flags & MemoryFlag.OWED)
        self.owed = set(owed) if at_least_once else set[str]()
        self.vouched: set[str] = set()

    def replace(self, saga_id: str, data: bytes | None) -> bytes | None:
        """Remember this of a saga from now on, None for nothing; return what was remembered before."""
        before = self.memories.get(saga_id)
        if data is None:
            self.memories.pop(saga_id, None)
        else:
            self.memories[saga_id] = data
        return before

    def reschedule(self, saga_id: str) -> None:
        """Take up a saga's next timer again, which was taken off the heap or replaced in a batch that was undone."""
        if due_ms := peek(self.memories.get(saga_id, b"")).due_ms:
            self.schedule.set(saga_id, due_ms)
