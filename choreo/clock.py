"""Where time comes from.

The clock protocol, the system's clock and the one that tests move by hand live here; nothing that waits does. Every
module that needs the time is given a clock and asks it, so that simulated time and real time run the same code.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

RESOLUTION_S = 0.001
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""


class SystemClock:
    """The machine's own clock, read to a millisecond: what falls into the same one shares one answer.

    A busy service asks for every event; the same answer also has the same text, which is written once.
    """

    def __init__(self) -> None:
        self._answer = (0.0, EPOCH)

    def now(self) -> datetime:
        """Return the current time, aware, in UTC; up to `RESOLUTION_S` late."""
        read_s = time.time()
        at_s, answer = self._answer
        if not 0 <= read_s - at_s < RESOLUTION_S:
            answer = datetime.fromtimestamp(read_s, UTC)
            # One tuple, so that threads never see half of it.
            self._answer = (read_s, answer)
        return answer


class ManualClock:
    """A clock that stands still until it is moved.

    Args:
        start: Where it begins, aware; 2026-01-01T00:00:00Z unless given.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock needs an aware datetime: pass tzinfo=UTC")
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """Return the time it was last moved to."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move the clock forward.

        Raises:
            ValueError: If `by` is negative; time does not run backwards.
        """
        if by < timedelta(0):
            raise ValueError("a clock only moves forward")
        self._now += by
