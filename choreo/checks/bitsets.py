"""Sets of names as numbers, with a bit for each name.

What has come before each event of a large saga is as many large sets; as numbers they are small, and compared in a few
words. Their meaning lives elsewhere (`saga_flow`, `exclusion`).
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import compress

from choreo.choreography import Names

_TRUTH = bytes.maketrans(b"01", b"\x00\x01")


class BitSets:
    """The numbering of some names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        self._bits = {name: 1 << place for place, name in enumerate(self._names)}
        self.all = (1 << len(self._names)) - 1

    def of(self, names: Iterable[str]) -> int:
        """Return the number for some names; those that it does not know are left out."""
        mark = 0
        for name in names:
            mark |= self._bits.get(name, 0)
        return mark

    def names(self, mark: int) -> Names:
        """Return the names that a number stands for."""
        digits = bin(mark)[:1:-1].encode().translate(_TRUTH)
        return frozenset(compress(self._names, digits))

    def closure(self, onward: Mapping[str, Collection[str]]) -> dict[str, int]:
        """Return for each name all that it leads to, step by step; itself only where it leads back to itself.

        It is done in two rounds where each name stands behind those that it leads to.
        """
        found = {name: self.of(following) for name, following in onward.items()}
        changed = True
        while changed:
            changed = False
            for name, following in onward.items():
                mark = found[name]
                for each in following:
                    mark |= found.get(each, 0)
                changed = changed or mark != found[name]
                found[name] = mark
        return found
