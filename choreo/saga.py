"""Saga types, and the states that a saga can be in.

What an owner says about a saga type lives here; whether that makes sense is judged where its service is read
(`service`). Users write `Saga`; the tracker answers with `SagaState`.
"""

import types
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Union, get_args, get_origin

from choreo.event import Event

EventUnion = type[Event] | types.UnionType
"""One event type or, as `A | B`, any one of several."""


class SagaState(StrEnum):
    """Where a saga is.

    Members:
        STARTED: Only its start has been seen.
        PENDING: It is under way.
        COMPENSATING: A failure has been seen, and something is still owed.
        COMPLETED: Its completing event has been seen, and nothing is owed.
        FAILED: It was aborted, and all that had to be undone is.
    """

    STARTED = "started"
    PENDING = "pending"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    FAILED = "failed"


def alternatives(union: object) -> tuple[Any, ...]:
    """Return the members of `A | B` in order, (A,) for A alone and () for None.

    Nothing is checked: what is no event is returned like the rest, for whoever reports it.
    """
    if union is None:
        return ()
    if isinstance(union, types.UnionType) or get_origin(union) is Union:
        return get_args(union)
    if isinstance(union, Sequence) and not isinstance(union, str):
        return tuple(union)
    return (union,)


class Saga:
    """A kind of saga: what starts it, what ends it and what it is known by in the business.

    It is owned by the one service whose handlers emit its `completes` and `fails` events.

    Args:
        name: Stable name, such as `order-fulfilment`; it stands in saga ids.
        starts: The event that starts one, published from outside.
        completes: The event that ends one well, or a union of them.
        fails: The event that ends one badly, or a union of them; an `Event` or a `Failure`.
        key: The field of `starts` that identifies one in the business; without it saga ids are random.
    """

    __slots__ = ("_completes", "_fails", "key", "name", "starts")

    def __init__(
        self,
        name: str,
        *,
        starts: type[Event],
        completes: EventUnion,
        fails: EventUnion | None = None,
        key: str | None = None,
    ) -> None:
        self.name = name
        self.starts = starts
        self.key = key
        self._completes = completes
        self._fails = fails

    @property
    def completes(self) -> tuple[type[Event], ...]:
        """Return the events that end it well."""
        return alternatives(self._completes)

    @property
    def fails(self) -> tuple[type[Event], ...]:
        """Return the events that end it badly; () where none is declared."""
        return alternatives(self._fails)

    def __repr__(self) -> str:
        return f"Saga({self.name!r})"
