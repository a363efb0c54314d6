"""Retries, people, deadlines and what comes later: recorded with their times, and taken again at those times."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from choreo import Event, Later, Retry, Saga, Service
from choreo.records import COMMANDS, Command
from choreo.replay import Change, replay
from choreo.testing import Scenario
from choreo.transport import Outgoing
from tests.replay.shop import (
    WELL,
    Cancelled,
    Captured,
    Confirmed,
    Declined,
    Gateway,
    Overdue,
    Placed,
    Refused,
    Reserved,
    Shipped,
    order_service,
    payment_service,
    record,
    shipping_service,
    shop,
    stock_service,
    told,
)

SOURCES = pytest.mark.parametrize("store", [False, True], ids=["topics", "store"])
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


# Retries.


@SOURCES
def test_a_step_that_was_tried_again_is_tried_again(store):
    recording = record(WELL, gateway=Gateway(breaks=2), store=store)
    assert [each.kind for each in recording.sagas[0].notes if each.handler].count("retried") == 2
    assert replay(shop(), recording) == []


def test_with_fewer_attempts_it_would_have_been_given_up():
    recording = record(WELL, gateway=Gateway(breaks=2))
    found, undone = replay([payment_service(attempts=2)], recording)
    assert found.text == "payments.capture emits Unknown now for Reserved; then it emitted Captured"
    assert (undone.handler, undone.change) == ("refund", Change.ANEW)
    [found] = replay([payment_service(attempts=2)], recording, uncalled=["payments.gave_up"])
    assert found.text == (
        "payments.capture emitted Captured then for Reserved; now what payments.gave_up emits is not known, for it is not "
        "called: it was named"
    )


@SOURCES
def test_an_otherwise_ends_a_step_as_it_did(store):
    recording = record(WELL, gateway=Gateway(breaks=5), store=store)
    assert "payments.Unknown" in [each.seen.type for each in recording.sagas[0].events]
    assert replay(shop(), recording) == []
    # With an attempt less, or more, the same comes of it.
    for attempts in (4, 6):
        assert replay([payment_service(attempts)], recording, uncalled=["payments.gave_up"]) == []


def test_a_policy_that_gives_up_on_the_recorded_exception_is_heeded():
    payments = Service("payments")

    @payments.provides
    def gateway() -> Iterator[Gateway]:
        yield Gateway()

    @payments.handles(retry=Retry(delay_s=60, never=(ConnectionError,)))
    def capture(placed: Placed, reserved: Reserved, gateway: Gateway) -> Captured | Declined:
        raise AssertionError("it is not called")

    found = replay([payments], record(WELL, gateway=Gateway(breaks=1)))
    assert told(found) == [("payments.capture", "parked")]
    assert found[0].text.endswith(
        "it is parked now: RetriesExhausted: payments.capture raised ConnectionError on attempt 1: the line is dead"
    )


# People.


def command(saga_id: str, at: str, **fields: object) -> Outgoing:
    """Return the record of a command about the capture of an order."""
    asked = {"command_id": "c", "saga_id": saga_id, "service": "payments", "handler": "capture", "at": at}
    return Outgoing(
        COMMANDS, saga_id.encode(), Command(**asked | {"actor": "Ines", "reason": "it is time"} | fields).to_bytes(), []
    )


def simple_payments() -> Service:
    """Payments that try once, and have nothing else to say."""
    payments = Service("payments")

    @payments.provides
    def gateway() -> Iterator[Gateway]:
        yield Gateway()

    @payments.handles(retry=Retry(attempts=1))
    def capture(placed: Placed, reserved: Reserved, gateway: Gateway) -> Captured | Declined:
        return Captured(order_id=placed.order_id, amount=gateway.take("", placed.total))

    return payments


@SOURCES
@pytest.mark.parametrize(
    "asked",
    [
        {"command": "retry"},
        {"command": "resolve", "event_type": "payments.Captured", "payload": {"order_id": "5", "amount": 7}},
        {"command": "resolve"},
    ],
    ids=["retry", "resolve", "resolve with nothing"],
)
def test_what_a_person_asked_for_is_done_again(store, asked):
    def drive(s: Scenario) -> None:
        s.settle()
        s.advance(DAY)
        saga_id = s.tracker.sagas().items[0].saga_id
        s.broker.write([command(saga_id, "2026-01-02T00:00:00Z", **asked)])
        s.broker.write([command(saga_id, "2026-01-02T00:00:00Z", **asked, command_id="d")])
        s.settle()

    services = (order_service(), stock_service(), simple_payments(), shipping_service())
    recording = record(WELL, services=services, gateway=Gateway(breaks=1), drive=drive, store=store)
    assert {"parked", "refused"} <= {each.kind for each in recording.sagas[0].notes}
    assert replay([simple_payments(), *services[:2]], recording) == []


def test_a_step_that_stays_parked_stays_parked():
    services = (order_service(), stock_service(), simple_payments(), shipping_service())
    recording = record(WELL, services=services, gateway=Gateway(breaks=1))
    assert [each.kind for each in recording.sagas[0].notes] == ["parked"]
    assert replay([simple_payments()], recording) == []


def test_a_step_that_would_be_parked_now_is_told():
    shipping = Service("shipping")

    @shipping.handles(retry=Retry(attempts=2))
    def ship(placed: Placed, paid: Captured) -> Shipped | Refused:
        raise ValueError("no such street")

    @shipping.handles(retry=Retry(attempts=1))
    def thank(confirmed: Confirmed) -> None:
        raise ValueError("no such name")

    found = replay([shipping], record(WELL))
    assert [each.text for each in found] == [
        (
            "shipping.ship ran then for Captured and emitted Shipped; it is parked now: RetriesExhausted: shipping.ship raised "
            "ValueError on attempt 2: no such street"
        ),
        (
            "shipping.thank is parked now for Confirmed: RetriesExhausted: shipping.thank raised ValueError on attempt 1: no "
            "such name; then it did not run"
        ),
    ]


# Deadlines, and what comes later.


def waiting_orders(within: timedelta | Callable[..., timedelta] = HOUR) -> Service:
    """Orders that wait so long for their end."""
    orders = order_service()

    @orders.deadline(Confirmed | Cancelled, within=within)
    def overdue(placed: Placed) -> Overdue:
        return Overdue(order_id=placed.order_id, reason="too late")

    return orders


def no_shipping() -> Service:
    return Service("shipping")


def asleep(minutes: int) -> Callable[[Scenario], None]:
    """Let shipping answer so late."""

    def drive(s: Scenario) -> None:
        s.hold("payments")
        s.advance(timedelta(minutes=minutes))
        s.release()
        s.settle()

    return drive


@SOURCES
def test_a_deadline_fires_when_it_did(store):
    services = (waiting_orders(), *shop()[1:])
    late = record(WELL, services=services, drive=asleep(90), store=store)
    assert "orders.Overdue" in [each.seen.type for each in late.sagas[0].events]
    assert replay(services, late) == []
    in_time = record(WELL, services=services, drive=asleep(50), store=store)
    assert "orders.Overdue" not in [each.seen.type for each in in_time.sagas[0].events]
    assert replay(services, in_time) == []


@SOURCES
def test_a_shorter_deadline_would_have_fired(store):
    services = (waiting_orders(), *shop()[1:])
    recording = record(WELL, services=services, drive=asleep(50), store=store)
    for within in (MINUTE, lambda placed: MINUTE):
        found = replay([waiting_orders(within)], recording, uncalled=["orders.confirm", "orders.cancel"])
        assert ("orders.overdue", "anew") in told(found)


@SOURCES
def test_a_longer_deadline_would_not_have_fired(store):
    services = (waiting_orders(), *shop()[1:3], no_shipping())
    recording = record(WELL, services=services, store=store)
    found = replay([waiting_orders(2 * HOUR)], recording)
    assert told(found) == [("orders.overdue", "gone"), ("orders.cancel", "gone")]
    assert found[0].text == (
        "orders.overdue ran then for Placed and emitted Overdue; it does not run any more, for it is not due before "
        "2026-01-01T02:00:00+00:00"
    )


@SOURCES
def test_an_event_that_was_in_the_backlog_when_a_deadline_fell_due_keeps_its_right(store):
    orders = waiting_orders()

    def drive(s: Scenario) -> None:
        s.hold("shipping", service=orders)
        s.advance(MINUTE)
        s.restart(orders)
        s.advance(2 * HOUR)
        s.release()
        s.settle()

    recording = record(WELL, services=(orders, *shop()[1:]), drive=drive, store=store)
    assert "orders.Confirmed" in [each.seen.type for each in recording.sagas[0].events]
    assert replay([waiting_orders()], recording) == []
    assert replay([waiting_orders(HOUR - MINUTE)], recording) == []


def test_a_deadline_that_is_as_it_was_does_not_fire_because_a_service_was_down():
    """What comes while it is down is read first; of a deadline with other terms nobody knows that it was."""
    orders, stock, payments, shipping = waiting_orders(), *shop()[1:]

    def drive(s: Scenario) -> None:
        s.hold("orders", service=shipping)
        s.hold("payments", service=orders)
        s.advance(30 * MINUTE)
        s.restart(orders)
        s.advance(35 * MINUTE)
        s.release("orders")
        s.settle()
        s.release()
        s.settle()

    recording = record(WELL, services=(orders, stock, payments, shipping), drive=drive)
    assert "orders.Confirmed" in [each.seen.type for each in recording.sagas[0].events]
    assert replay([waiting_orders()], recording) == []
    assert ("orders.overdue", "anew") in told(replay([waiting_orders(HOUR - MINUTE)], recording))


@SOURCES
def test_what_comes_later_comes_when_it_did(store):
    class Asked(Event, topic="questions"):
        ask_id: str

    class Answered(Event, topic="questions"):
        ask_id: str

    class Reminded(Event, topic="desk"):
        ask_id: str

    class Opened(Event, topic="desk"):
        ask_id: str

    def desk(days: int = 1) -> Service:
        desk = Service("desk")
        desk.owns(Saga("question", starts=Asked, completes=Answered, key="ask_id"))

        @desk.handles
        def remind(asked: Asked) -> tuple[Later[Reminded], Opened]:
            return Later(Reminded(ask_id=asked.ask_id), after=days * DAY), Opened(ask_id=asked.ask_id)

        @desk.handles
        def answer(reminded: Reminded) -> Answered:
            return Answered(ask_id=reminded.ask_id)

        return desk

    uncalled = ["desk.remind"]
    over = record(Asked(ask_id="1"), services=(desk(),), store=store)
    assert replay([desk()], over) == replay([desk()], over, uncalled=uncalled) == []
    running = record(Asked(ask_id="1"), services=(desk(),), store=store, drive=lambda s: s.advance(HOUR))
    assert replay([desk()], running) == replay([desk()], running, uncalled=uncalled) == []
    found = replay([desk(days=2)], over)
    assert [each.text for each in found] == [
        (
            "desk.remind emits Opened now for Asked; then it emitted Reminded, Opened, for it is not due before "
            "2026-01-03T00:00:00+00:00"
        ),
        "desk.answer ran then for Reminded and emitted Answered; it does not run any more",
    ]


def test_what_moves_to_another_place_has_another_id():
    class Asked(Event, topic="questions"):
        ask_id: str

    class Opened(Event, topic="desk"):
        ask_id: str

    def desk(*, reminds: bool) -> Service:
        desk = Service("desk")
        desk.owns(Saga("question", starts=Asked, completes=Confirmed, key="ask_id"))

        @desk.handles
        def open_it(asked: Asked) -> tuple[Later[Shipped], Opened] | Opened:
            opened = Opened(ask_id=asked.ask_id)
            return (Later(Shipped(order_id=asked.ask_id), after=DAY), opened) if reminds else opened

        return desk

    recording = record(Asked(ask_id="1"), services=(desk(reminds=True),), drive=lambda s: s.advance(HOUR))
    [found] = replay([desk(reminds=False)], recording)
    assert found.text == "desk.open_it emits Opened under other ids now for Asked"


def test_a_step_that_is_tried_again_beyond_the_recording_is_told():
    orders = waiting_orders()

    @orders.handles(retry=Retry(attempts=3, delay_s=7200, delay_s_max=7200))
    def thank(placed: Placed) -> None:
        raise ValueError("no such name")

    before = waiting_orders()

    @before.handles(name="thank")
    def say_nothing(placed: Placed) -> None:
        """It did nothing then."""

    services = (before, *shop()[1:3], no_shipping())
    recording = record(WELL, services=services, drive=lambda s: s.advance(MINUTE))
    [found] = replay([orders], recording)
    assert found.change is Change.RETRYING
    assert found.text.startswith(
        "orders.thank ran then for Placed and emitted nothing; it still fails now: ValueError: no such name, for it is not "
        "due before 2026-01-01T0"
    )
