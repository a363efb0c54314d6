"""One service alone: given, when, then."""

from datetime import timedelta

import pytest

from choreo import Event, Later, Saga, Service
from choreo.errors import ChoreoError
from choreo.testing import given
from tests.testing.shop import (
    Gateway,
    InventoryReleased,
    InventoryReserved,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    PaymentCaptured,
    PaymentDeclined,
    ShipmentCreated,
    inventory,
    orders,
    payments,
)

PLACED, RESERVED = OrderPlaced(order_id="17"), InventoryReserved(order_id="17")
PAID, SHIPPED = PaymentCaptured(order_id="17"), ShipmentCreated(order_id="17")
DECLINED = PaymentDeclined(order_id="17", reason="over the limit")


def test_a_join_runs_when_all_has_come():
    given(payments, PLACED).when(RESERVED).then(PAID)
    given(payments, RESERVED).when(PLACED).then(PAID)
    given(payments).when(RESERVED).then()
    given(payments, PLACED, RESERVED).when(PLACED).then()


def test_an_event_may_be_told_by_its_type():
    given(payments, PLACED).when(RESERVED).then(PaymentCaptured)
    with pytest.raises(AssertionError):
        given(payments, PLACED).when(RESERVED).then(PaymentDeclined)
    with pytest.raises(AssertionError):
        given(payments, PLACED).when(RESERVED).then(PaymentCaptured, PaymentCaptured)


def test_resources_may_stand_in():
    given(payments, PLACED).using(Gateway, Gateway(limit=0)).when(RESERVED).then(DECLINED)


def test_what_was_done_is_undone():
    given(inventory, PLACED).when(DECLINED).then(InventoryReleased(order_id="17"))
    given(inventory, DECLINED).when(PLACED).then()


def test_the_owner_of_a_saga_ends_it_once():
    given(orders, PLACED, PAID).when(SHIPPED).then(OrderConfirmed(order_id="17"))
    given(orders, PAID, SHIPPED).when(PLACED).then(OrderConfirmed)
    given(orders, PLACED, PAID, SHIPPED).when(DECLINED).then()
    given(orders, PLACED).when(DECLINED, PAID, SHIPPED).then(OrderCancelled)


def test_time_passes_when_it_is_told_to():
    broken = given(payments, PLACED).using(Gateway, Gateway(breaks=1)).when(RESERVED)
    with pytest.raises(AssertionError) as raised:
        broken.then(PAID)
    assert str(raised.value).splitlines() == [
        "payments emitted nothing",
        "and was to emit PaymentCaptured(order_id='17', attempt=1)",
        "its journal has",
        "  retried capture: ConnectionError: the line is dead",
    ]
    again = given(payments, PLACED).using(Gateway, Gateway(breaks=1)).when(RESERVED).after(timedelta(minutes=2))
    again.then(PaymentCaptured(order_id="17", attempt=2))


def test_what_is_delayed_comes_in_its_time():
    class Asked(Event, topic="asks"):
        pass

    class Reminded(Event, topic="asks"):
        pass

    class Done(Event, topic="asks"):
        pass

    service = Service("minder")
    service.owns(Saga("reminder", starts=Asked, completes=Done))

    @service.handles
    def remind(_asked: Asked) -> Later[Reminded]:
        return Later(Reminded(), after=timedelta(days=1), unless=Done)

    @service.handles
    def finish(_reminded: Reminded) -> Done:
        return Done()

    given(service).when(Asked()).after(timedelta(hours=23)).then()
    given(service).when(Asked()).after(timedelta(days=1)).then(Reminded, Done)


def test_it_says_what_may_be_given():
    with pytest.raises(ChoreoError, match="payments does not read PaymentCaptured; capture emits it: give what makes"):
        given(payments, PAID).when(RESERVED).then()
    with pytest.raises(ChoreoError, match="payments does not read OrderCancelled; it reads InventoryReserved, OrderPl"):
        given(payments).when(OrderCancelled(order_id="17")).then()


def test_a_case_is_run_once_it_is_asked_and_leaves_others_alone():
    case = given(payments, PLACED)
    case.when(RESERVED).then(PAID)
    case.then()
    assert Gateway.opened == 0
