"""Making named tuples in no time.

The one trick that every record goes through several times lives here; the tuples live where they belong.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

T = TypeVar("T", bound=tuple[object, ...])


def maker(kind: type[T]) -> Callable[[tuple[object, ...]], T]:
    """Return what makes a named tuple of a plain one that has every field.

    The class's own constructor and `_make` take a Python call for what `tuple` does alone.
    """
    return cast("Callable[[tuple[object, ...]], T]", partial(tuple.__new__, kind))
