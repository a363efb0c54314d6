"""The world, as one service sees it: what it has taken for whom, and given back.

A ledger keeps the promise that effects need (SEMANTICS 11): a key works once, and one that was undone never again. What
is taken, seats or money, is each service's own; every service that has effects provides one.
"""


class Ledger:
    """What is held for each saga."""

    def __init__(self) -> None:
        self._taken: dict[str, tuple[str, int]] = {}
        self._burnt: set[str] = set()
        self.calls = 0
        """How often it was called, repeats included."""

    def take(self, key: str, whose: str, amount: int = 1) -> bool:
        """Take something, once a key; return False where the key was given back before."""
        self.calls += 1
        if key in self._burnt:
            return False
        self._taken.setdefault(key, (whose, amount))
        return True

    def give_back(self, key: str) -> None:
        """Give back what was taken under this key, if anything, and make the key unusable."""
        self.calls += 1
        self._burnt.add(key)

    def held(self, whose: str) -> int:
        """Return how much is held for a saga, by its business key."""
        return sum(amount for key, (of, amount) in self._taken.items() if of == whose and key not in self._burnt)


def ledger() -> Ledger:
    """Return a new one; what a service provides."""
    return Ledger()
