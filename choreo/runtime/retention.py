"""When a saga may be forgotten.

One heap a partition of sagas that have ended lives here; the rule is SEMANTICS 5: `remember_for` after the end was
read, never by age alone, and not while a step of it is retrying or parked. The engine asks once a batch for what is
due.
"""

import heapq

from choreo.memory import MemoryFlag, peek

SWEEP_MAX = 500


class Retention:
    """The sagas of one partition that have ended, soonest to be forgotten first.

    Args:
        remember_ms: How long an ended saga is remembered, in milliseconds.
    """

    def __init__(self, remember_ms: int) -> None:
        self._remember_ms = remember_ms
        self._heap: list[tuple[int, str]] = []

    def restore(self, memories: dict[str, bytes]) -> None:
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

    def due(self, memories: dict[str, bytes], now_ms: int) -> list[str]:
        """Return up to `SWEEP_MAX` sagas to forget now.

        What it returns leaves the heap: call `ended` again for what could not be committed.
        """
        found: list[str] = []
        while self._heap and self._heap[0][0] <= now_ms and len(found) < SWEEP_MAX:
            _, saga_id = heapq.heappop(self._heap)
            data = memories.get(saga_id)
            seen = peek(data) if data is not None else None
            # An end whose batch was taken back has left its entry here: it counts as long as the memory says the same.
            if seen is None or not seen.ended_ms:
                continue
            if seen.flags & MemoryFlag.BUSY:
                # Retrying, or owed to a person: looked at again one remembering later, however long that takes.
                heapq.heappush(self._heap, (now_ms + max(self._remember_ms, 1), saga_id))
            else:
                found.append(saga_id)
        return found
