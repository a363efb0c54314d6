"""Which branch an event counts in.

The arithmetic of branches lives here: a branch is the text that a fan-out gives to each of its paths, nested by `/`,
and the root is "". No memory and no event is touched. `step` asks it whenever a rule says "in scope" (SEMANTICS rule
7).
"""


def covers(outer: str, inner: str) -> bool:
    """Return whether something in branch `outer` counts in branch `inner`: in itself and in every branch inside it."""
    return not outer or outer == inner or inner.startswith(outer + "/")


def related(one: str, other: str) -> bool:
    """Return whether one branch lies inside the other, in either direction: the reach of a compensation's event."""
    return covers(one, other) or covers(other, one)
