"""When a handler that failed is tried again.

Each handler has one policy, and the runtime asks it after each failed attempt. Pure: it neither waits nor counts.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

BACKOFF_FACTOR = 2.0
JITTER_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failing handler is tried again, and after what delays.

    Args:
        attempts: Attempts in all, at least 1; after the last the step is parked.
        delay_s: Seconds before the second attempt; doubled each time.
        delay_s_max: Longest delay in seconds.
        on: Exceptions worth another attempt.
        never: Exceptions that park the step at once; wins over `on`.
    """

    attempts: int = 5
    delay_s: float = 0.2
    delay_s_max: float = 30.0
    on: Sequence[type[Exception]] = (Exception,)
    never: Sequence[type[Exception]] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.attempts < 1:
            raise ValueError(f"Retry(attempts={self.attempts}): at least one attempt is made, so pass 1 or more")
        if self.delay_s < 0 or self.delay_s_max < 0:
            raise ValueError("Retry delays are seconds from 0 upwards")

    def applies_to(self, error: Exception) -> bool:
        """Return whether this error is worth another attempt at all."""
        return isinstance(error, tuple(self.on)) and not isinstance(error, tuple(self.never))

    def delay_after(self, attempt: int, seed: str = "") -> float | None:
        """Return how long to wait before the next attempt.

        Args:
            attempt: Failed attempts so far, counted from 1.
            seed: What the jitter is drawn from (the idempotency key), so that a replay waits just as long.

        Returns:
            Seconds in [0, delay_s_max], or None to park the step.

        Raises:
            ValueError: If attempt < 1; retrying does not help.
        """
        if attempt < 1:
            raise ValueError("attempts are counted from 1")
        if attempt >= self.attempts:
            return None
        # The exponent is capped, because 2.0 ** 1100 overflows long before delay_s_max would cap the product.
        delay = min(self.delay_s * BACKOFF_FACTOR ** min(attempt - 1, 64), self.delay_s_max)
        jitter = random.Random(f"{seed}:{attempt}").random()  # noqa: S311 - jitter must repeat, not surprise.
        return delay * (1 - JITTER_SHARE * jitter)
