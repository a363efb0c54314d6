"""Which branch an event counts in.

The arithmetic of branches lives here: a branch is the text that a fan-out gives to each of its paths, nested by `/`,
and the root is "". No memory and no event is touched. `step` and the tracker ask it whenever a rule says "in scope"
(SEMANTICS rules 7 and 12).
"""

import re
from typing import NamedTuple

KEY_CHARS = 8
"""How much of a fan-out step's idempotency key stands in the names of its branches."""
_INNERMOST = re.compile(r"(.*)/([0-9a-f]{8}):(\d{1,9})\.(\d{1,9})", re.DOTALL)


class Fork(NamedTuple):
    """Where a branch comes from.

    Attributes:
        outer: The branch that the fan-out ran in.
        key: The beginning of the fan-out step's idempotency key.
        path: Which of its paths, from 0.
        of: How many there are.
    """

    outer: str
    key: str
    path: int
    of: int


def covers(outer: str, inner: str) -> bool:
    """Return whether something in branch `outer` counts in branch `inner`: in itself and in every branch inside it."""
    return not outer or outer == inner or inner.startswith(outer + "/")


def related(one: str, other: str) -> bool:
    """Return whether one branch lies inside the other, in either direction: the reach of a compensation's event."""
    return covers(one, other) or covers(other, one)


def opened(outer: str, key: str, path: int, of: int) -> str:
    """Return the branch of one path of a fan-out.

    Args:
        outer: The branch that the step ran in.
        key: The step's idempotency key.
        path: Which path, from 0.
        of: How many there are.
    """
    return f"{outer}/{key[:KEY_CHARS]}:{path}.{of}"


def fork(branch: str) -> Fork | None:
    """Return where the innermost fan-out of a branch is; None at the root, and for what no fan-out has named."""
    found = _INNERMOST.fullmatch(branch)
    if found is None:
        return None
    path, of = int(found[3]), int(found[4])
    return Fork(found[1], found[2], path, of) if path < of else None
