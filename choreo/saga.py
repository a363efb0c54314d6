"""Saga types, and the states that a saga can be in.

Nothing is checked here: `service.validation` does. Users write `Saga`; the tracker answers with `SagaState`.
"""

import types
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Union, get_args, get_origin

from choreo.event import Event

EventUnion = type[Event] | types.UnionType
"""One event type or, as `A | B`, any one of several."""


class SagaState(StrEnum):
    """How a saga stands.

    Members:
        STARTED: Only its start has been seen.
        PENDING: It goes on.
        COMPENSATING: A failure has been seen, and something must still be undone.
        COMPLETED: Its completing event has been seen, and nothing must be undone.
        FAILED: It was aborted, and all that had to be undone is undone.
    """

    STARTED = "started"
    PENDING = "pending"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    FAILED = "failed"


def alternatives(union: object) -> tuple[Any, ...]:
    """Return the members of `A | B` in order, (A,) for A alone and () for None.

    What is no event is returned like the rest, for the caller to report.
    """
    if union is None:
        return ()
    if isinstance(union, types.UnionType) or get_origin(union) is Union:
        return get_args(union)
    if isinstance(union, Sequence) and not isinstance(union, str):
        return tuple(union)
    return (union,)


class Saga:
    """A saga type: what starts a saga, what ends it, and what the business knows it by.

    One service owns it: the one whose handlers emit its `completes` and `fails` events.

    Args:
        name: Stable name, such as `order-fulfilment`; it stands in saga ids.
        starts: The event that starts one, published from outside.
        completes: The event that ends one well, or a union of them.
        fails: The event that ends one badly, or a union of them; an `Event` or a `Failure`.
        key: The field of `starts` that identifies one in the business; without it saga ids are random.
    """

    __slots__ = ("completes", "fails", "key", "name", "starts")

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
        self.completes: tuple[type[Event], ...] = alternatives(completes)
        self.fails: tuple[type[Event], ...] = alternatives(fails)

    def __repr__(self) -> str:
        return f"Saga({self.name!r})"
