"""Faults at will: what a test makes go wrong goes wrong where it says, and nothing is lost or doubled by it."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from choreo import Event, Retry, Saga, SagaState, Service, Settings
from choreo.errors import ChoreoError
from choreo.testing import Point, Scenario, TransientFault
from tests.testing.shop import (
    ALL,
    Gateway,
    InventoryReserved,
    OrderConfirmed,
    OrderPlaced,
    PaymentCaptured,
    ShipmentCreated,
    capture,
    inventory,
    orders,
    payments,
    shipping,
)

CONFIRMED = [OrderPlaced, InventoryReserved, PaymentCaptured, ShipmentCreated, OrderConfirmed]
deliveries = pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])


class Counting(Gateway):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def capture(self, total: int) -> bool:
        self.asked += 1
        return await super().capture(total)


def order(order_id: str = "17") -> OrderPlaced:
    return OrderPlaced(order_id=order_id)


def scenario(delivery: str = "exactly_once", **options: object) -> Scenario:
    return Scenario(*ALL, settings=Settings.model_construct(delivery=delivery), **options)


def committed(s: Scenario) -> Counter[str]:
    """Count the records of each event type."""
    topics = {kind.__choreo_topic__ for kind in CONFIRMED}
    return Counter(dict(each.headers)["ce_type"].decode().rpartition(".")[2] for each in s.broker.records(*topics))


@pytest.mark.parametrize("handler", [capture, "capture"])
def test_a_handler_raises_as_often_as_it_is_told_and_is_tried_again(handler):
    with scenario() as s:
        gateway = Counting()
        s.replace(payments, Gateway, gateway)
        s.fail(payments, handler, times=2)
        saga = s.publish(order())
        s.settle()
        assert saga.emitted == CONFIRMED
        assert saga.event(PaymentCaptured).attempt == 3
        assert gateway.asked == 1
        assert s.now >= s.now.replace(hour=0, minute=1, second=30)


def test_a_handler_may_raise_when_it_has_done_what_it_does():
    with scenario() as s:
        gateway = Counting()
        s.replace(payments, Gateway, gateway)
        s.fail(payments, capture, after=True)
        saga = s.publish(order())
        s.settle()
        assert saga.event(PaymentCaptured).attempt == 2
        assert gateway.asked == 2


def test_what_it_raises_may_be_chosen_and_parks_as_in_production():
    with scenario(park=True) as s:
        s.fail(payments, capture, times=3, error=ConnectionError("no line"))
        saga = s.publish(order())
        s.settle()
        assert "raised ConnectionError on attempt 3: no line" in next(
            each.error for each in saga.steps if each.name == "capture"
        )
    with scenario() as s:
        s.fail(payments, capture, times=3)
        s.publish(order())
        with pytest.raises(TransientFault, match=r"payments\.capture was made to fail"):
            s.settle()


@deliveries
@pytest.mark.parametrize("point", Point)
@pytest.mark.parametrize("service", ALL, ids=lambda each: each.name)
def test_a_service_that_dies_at_any_point_goes_on_with_what_is_committed(service, point, delivery):
    with scenario(delivery) as s:
        Gateway.opened = 0
        s.crash(service, at=point)
        saga = s.publish(order())
        s.settle()
        assert saga.state is SagaState.COMPLETED
        assert sorted(saga.emitted, key=str) == sorted(CONFIRMED, key=str)
        assert delivery == "at_least_once" or set(committed(s).values()) == {1}
        assert Gateway.opened == 1
    assert Gateway.opened == 0


@pytest.mark.parametrize(
    ("point", "calls"),
    [
        (Point.BEFORE_HANDLER, 1),
        (Point.AFTER_HANDLER, 2),
        (Point.BEFORE_COMMIT, 2),
        (Point.IN_COMMIT, 2),
        (Point.COMMIT_LOST, 1),
        (Point.AFTER_COMMIT, 1),
    ],
)
def test_what_was_done_outside_is_done_again_where_nothing_of_it_was_committed(point, calls):
    with scenario() as s:
        gateway = Counting()
        s.replace(payments, Gateway, gateway)
        s.crash(payments, at=point, handler=capture)
        s.publish(order())
        s.settle()
        assert gateway.asked == calls


@pytest.mark.parametrize("point", [Point.IN_COMMIT, Point.COMMIT_LOST])
def test_r10_without_transactions_a_commit_may_come_half_the_way(point):
    with scenario("at_least_once") as s:
        s.crash(payments, at=point, handler=capture)
        s.publish(order())
        s.settle()
        assert committed(s)["PaymentCaptured"] == (2 if point is Point.IN_COMMIT else 1)


def test_a_service_may_die_more_than_once_and_others_are_left_alone():
    with scenario() as s:
        s.crash(payments, times=3)
        s.publish(order())
        members = s.delivery.services
        before = {name: each.source for name, each in members.items()}
        s.step(payments)
        assert [name for name, each in members.items() if each.source is not before[name]] == ["payments"]
        s.settle()
        assert s.step() is False


class Begun(Event, topic="begun"):
    pass


class Finished(Event, topic="finished"):
    pass


def worker(kind: str, calls: list[str]) -> Service:
    """Return a service whose handler is written in one of the ways there are."""
    service = Service("worker")
    service.owns(Saga("work", starts=Begun, completes=Finished))

    def plain(_begun: Begun) -> Finished:
        calls.append(kind)
        return Finished()

    async def awaited(_begun: Begun) -> Finished:
        calls.append(kind)
        return Finished()

    def yielding(_begun: Begun) -> Iterator[Finished]:
        calls.append(kind)
        yield Finished()

    async def streaming(_begun: Begun) -> AsyncIterator[Finished]:
        calls.append(kind)
        yield Finished()

    ways = {"plain": plain, "threaded": plain, "awaited": awaited, "yielding": yielding, "streaming": streaming}
    service.handles(thread=kind == "threaded", name="finish", retry=Retry(attempts=2))(ways[kind])
    return service


@pytest.mark.parametrize("kind", ["plain", "threaded", "awaited", "yielding", "streaming"])
@pytest.mark.parametrize("point", [Point.BEFORE_HANDLER, Point.AFTER_HANDLER, None])
def test_handlers_of_every_kind_are_struck(kind, point):
    calls: list[str] = []
    service = worker(kind, calls)
    with Scenario(service) as s:
        if point is None:
            s.fail(service, "finish", after=True)
        else:
            s.crash(service, at=point)
        saga = s.publish(Begun())
        s.settle()
        assert saga.emitted == [Begun, Finished]
        assert len(calls) == (1 if point is Point.BEFORE_HANDLER else 2)


def test_an_event_comes_twice_and_counts_once():
    with scenario() as s:
        gateway = Counting()
        s.replace(payments, Gateway, gateway)
        s.duplicate(OrderPlaced)
        s.duplicate(InventoryReserved)
        saga = s.publish(order())
        s.publish(order("18"))
        s.settle()
        assert saga.emitted == CONFIRMED
        assert gateway.asked == 2
        assert committed(s) == Counter([each.__name__ for each in CONFIRMED] * 2) + Counter(
            ["OrderPlaced", "InventoryReserved"]
        )


def test_a_topic_that_is_late_is_overtaken_and_comes_in_its_time():
    with scenario() as s:
        saga = s.publish(order())
        s.delay("inventory", by=timedelta(hours=1), service=payments)
        s.advance(timedelta(minutes=59))
        assert saga.emitted == CONFIRMED[:2]
        s.advance(timedelta(minutes=1))
        assert saga.emitted == CONFIRMED


def test_settling_waits_for_what_is_late():
    with scenario() as s:
        begun = s.now
        s.delay("payments", by=timedelta(hours=1))
        s.delay("payments", by=timedelta(hours=3), service=shipping)
        saga = s.publish(order())
        s.settle()
        assert saga.emitted == CONFIRMED
        assert s.now - begun == timedelta(hours=3)


def test_what_is_held_stays_so_when_its_lateness_is_over_and_all_may_be_released():
    with scenario() as s:
        saga = s.publish(order())
        s.hold("inventory")
        s.delay("inventory", by=timedelta(hours=1))
        s.settle()
        assert saga.emitted == CONFIRMED[:2]
        s.release()
        s.settle()
        assert saga.emitted == CONFIRMED


def test_mistakes_name_what_there_is():
    with scenario() as s:
        with pytest.raises(ChoreoError, match="payments has no handler 'charge'; it has capture"):
            s.fail(payments, "charge")
        with pytest.raises(ChoreoError, match=r"shipping has no handler .*capture.*; it has ship"):
            s.crash(shipping, handler=capture)
        with pytest.raises(ChoreoError, match="stranger takes no part"):
            s.crash(Service("stranger"))
        with pytest.raises(ChoreoError, match="stranger takes no part"):
            s.delay("orders", by=timedelta(1), service=Service("stranger"))


def test_a_retry_that_falls_due_while_its_service_is_down_parks_and_is_told():
    with scenario() as s:
        s.fail(payments, capture, times=4)
        s.publish(order())
        s.advance(timedelta(seconds=70))
        s.crash(payments, at=Point.BEFORE_COMMIT, handler=capture)
        with pytest.raises(TransientFault):
            s.settle()


def test_r10_what_a_commit_set_that_was_not_told_is_not_forgotten():
    """The retry is set by a commit whose answer is lost: nothing else comes that would wake the service."""
    with scenario() as s:
        s.fail(payments, capture)
        saga = s.publish(order())
        s.step(inventory)
        while s.step(orders) or s.step(shipping):
            pass
        while not s.delivery.services["payments"].source.heads[1:]:
            s.step(payments)
        s.broker.lose_commit_response("payments")
        s.settle()
        assert saga.emitted == CONFIRMED
