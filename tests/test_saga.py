"""Saga types as their owners write them."""

from typing import Optional, Union

import pytest

from choreo.event import Event
from choreo.saga import Saga, SagaState, alternatives


class Placed(Event, topic="orders"):
    order_id: str


class Confirmed(Event, topic="orders"):
    pass


class Cancelled(Event, topic="orders"):
    pass


@pytest.mark.parametrize(
    ("union", "members"),
    [
        (None, ()),
        (Placed, (Placed,)),
        (Placed | Confirmed, (Placed, Confirmed)),
        (Placed | Confirmed | Placed, (Placed, Confirmed)),
        (Union[Placed, Confirmed], (Placed, Confirmed)),  # noqa: UP007
        (Optional[Placed], (Placed, type(None))),  # noqa: UP045
        ((Placed, Confirmed), (Placed, Confirmed)),
        ("Placed", ("Placed",)),
    ],
)
def test_a_union_names_its_members_in_order(union, members):
    assert alternatives(union) == members


def test_ends_are_tuples_whatever_was_written():
    saga = Saga("order", starts=Placed, completes=Confirmed | Cancelled, key="order_id")
    assert saga.completes == (Confirmed, Cancelled)
    assert saga.fails == ()
    assert (saga.name, saga.starts, saga.key) == ("order", Placed, "order_id")
    assert Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled).fails == (Cancelled,)
    assert repr(saga) == "Saga('order')"


def test_r30_the_states_of_a_saga():
    assert [str(state) for state in SagaState] == ["started", "pending", "compensating", "completed", "failed"]
