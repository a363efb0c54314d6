"""What a partition has to do later, soonest first.

One heap a partition lives here: which sagas have a timer due, and when the next one is. The timers themselves are in
the memories; the engine asks once a batch for the sagas to wake.
"""

import heapq
from collections.abc import Mapping

from choreo.memory import peek

WOKEN_MAX = 1000
"""Sagas that one batch wakes; the rest are due in the next one."""


class Schedule:
    """The sagas of one partition that have something to do later.

    An entry stays in the heap when its timer is called off or set anew: it counts only as long as the memory says the
    same, so that nothing has to be searched for.
    """

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
        """Return when the next timer is due, in milliseconds since 1970; None where nothing is to be done."""
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
