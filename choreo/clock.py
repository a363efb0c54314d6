"""Where time comes from.

The clock protocol, the system's clock and the one that tests move by hand live here; nothing that waits does. Every
module that needs the time is given a clock and asks it, so that simulated time and real time run the same code.
"""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return datetime.now(UTC)


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
