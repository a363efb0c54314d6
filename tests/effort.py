"""How much a test goes through: a part by default, and all of it in `make test-long`.

A part still has every kind of case; more seeds, examples and rounds of the same kind are what `make test-long` adds.
"""

import os

LONG = os.environ.get("CHOREO_TEST_LONG") == "1"


def part(count: int, *, of: int) -> int:
    """Return how many seeds, examples or rounds to go through: so many, or all of them where time is given."""
    return of if LONG else count
