"""Today's code against what is recorded: the same is silent, and each way to differ is told."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

import pytest

from choreo import Context, DeclarationError, Event, Saga, Sensitive, Service, State
from choreo.replay import EVENTS_MAX, Change, FieldChange, recorded, replay, replayed
from choreo.testing import Scenario
from tests.replay.shop import (
    TOO_HEAVY,
    TOO_MUCH,
    WELL,
    Captured,
    Confirmed,
    Declined,
    Gateway,
    Line,
    Overdue,
    Placed,
    Refunded,
    Refused,
    Released,
    Reserved,
    Shipped,
    order_service,
    payment_service,
    record,
    shipping_service,
    shop,
    told,
)

SOURCES = pytest.mark.parametrize("store", [False, True], ids=["topics", "store"])
LONG = timedelta(seconds=5)


@SOURCES
def test_the_same_code_does_the_same(store):
    recording = record(WELL, TOO_HEAVY, TOO_MUCH, store=store)
    assert [len(saga.events) for saga in recording.sagas] == [5, 7, 5]
    assert replay(shop(), recording) == []
    assert replay(shop(), recording, replace={Gateway: Gateway()}) == []


@SOURCES
@pytest.mark.parametrize("seed", range(5))
def test_in_whatever_order_topics_were_read(store, seed):
    recording = record(WELL, TOO_HEAVY, TOO_MUCH, store=store, seed=seed)
    assert replay(shop(), recording) == []


# Steps that come and go.


def test_a_handler_that_is_taken_out_is_gone():
    stock = Service("stock")

    @stock.handles
    def reserve(placed: Placed) -> Reserved:
        return stock_reserve(placed)

    [found] = replay([stock], record(TOO_MUCH))
    assert (found.service, found.handler, found.change) == ("stock", "release", Change.GONE)
    assert found.text == "stock.release ran then for Declined and emitted Released; it does not run any more"
    assert (found.saga_type, found.business_key) == ("order", "200")


def stock_reserve(placed: Placed) -> Reserved:
    """What `reserve` has always returned."""
    return Reserved(order_id=placed.order_id, lines=[Line(title="Abbey Road", note="gift")], owner="Kim")


def test_a_handler_that_is_added_runs_anew():
    class Thanked(Event, topic="shipping"):
        order_id: str

    shipping = shipping_service()

    @shipping.handles
    def thank(confirmed: Confirmed) -> Thanked:
        return Thanked(order_id=confirmed.order_id)

    @shipping.handles
    def look(thanked: Thanked) -> None:
        """Reads what nobody has ever written."""

    found = replay([shipping], record(WELL, TOO_MUCH))
    assert told(found) == [("shipping.thank", "anew"), ("shipping.look", "anew")]
    assert found[0].text == "shipping.thank runs now for Confirmed and emits Thanked; then it did not run"
    assert found[1].text == "shipping.look runs now for Thanked and emits nothing; then it did not run"


def test_other_event_types_are_told():
    shipping = Service("shipping")

    @shipping.handles
    def ship(placed: Placed, paid: Captured) -> Shipped | Refused:
        return Refused(order_id=paid.order_id, reason="on strike")

    [found] = replay([shipping], record(WELL))
    assert found.change is Change.EMITS
    assert found.text == "shipping.ship emits Refused now for Captured; then it emitted Shipped"


def test_a_step_that_falls_silent_is_told():
    shipping = Service("shipping")

    @shipping.handles
    def ship(placed: Placed, paid: Captured) -> Shipped | None:
        return None

    assert [each.text for each in replay([shipping], record(WELL))] == [
        "shipping.ship emits nothing now for Captured; then it emitted Shipped"
    ]


def test_another_body_is_told_field_by_field_and_what_is_sensitive_is_never_shown():
    stock = Service("stock")

    @stock.handles
    def reserve(placed: Placed) -> Reserved:
        lines = [Line(title="Let It Be", note="secret"), Line(title="Help!")]
        return Reserved(order_id=placed.order_id, lines=lines, owner="Ines")

    [found] = replay([stock], record(WELL))
    assert found.change is Change.BODY
    assert found.fields == (
        FieldChange("lines[0].title", "'Abbey Road'", "'Let It Be'"),
        FieldChange("lines[0].note", "***", "***"),
        FieldChange("lines[1]", "nothing", "a Line"),
        FieldChange("owner", "***", "***"),
    )
    assert "lines[0].title: 'Abbey Road' → 'Let It Be'" in str(found)
    assert not [word for word in ("secret", "gift", "Kim", "Ines") if word in str(found)]


def test_a_store_without_sensitive_fields_says_nothing_about_them():
    stock = Service("stock")

    @stock.handles
    def reserve(placed: Placed) -> Reserved:
        return Reserved(order_id=placed.order_id, lines=[Line(title="Help!", note="other")], owner="Ines")

    @stock.compensates
    def release(cause: Declined | Refunded, reserved: Reserved) -> Released:
        return Released(order_id=reserved.order_id)

    # `Placed` has a card, which the store never kept: what takes it is not called.
    report = replayed([stock], record(WELL, store=True))
    assert [each.differences for each in report.sagas] == [[]]
    assert report.uncalled == {
        "stock.reserve": "Placed has sensitive fields, which are not recorded",
        "stock.release": "Reserved has sensitive fields, which are not recorded",
    }

    class Asked(Event, topic="questions"):
        ask_id: str

    class Answered(Event, topic="questions"):
        ask_id: str
        text: str
        name: Annotated[str, Sensitive()]

    def desk(text: str, name: str) -> Service:
        desk = Service("desk")
        desk.owns(Saga("question", starts=Asked, completes=Answered, key="ask_id"))

        @desk.handles
        def answer(asked: Asked) -> Answered:
            return Answered(ask_id=asked.ask_id, text=text, name=name)

        return desk

    recording = record(Asked(ask_id="1"), services=(desk("yes", "Kim"),), store=True)
    assert replay([desk("yes", "Ines")], recording) == []
    [found] = replay([desk("no", "Ines")], recording)
    assert found.fields == (FieldChange("text", "'yes'", "'no'"),)


@SOURCES
def test_undoing_in_another_order_is_told(store):
    stock = Service("stock")

    @stock.handles
    def reserve(placed: Placed) -> Reserved:
        return stock_reserve(placed)

    @stock.compensates
    def release(cause: Declined | Refused, reserved: Reserved) -> Released:
        return Released(order_id=reserved.order_id)

    [found] = replay([stock], record(TOO_HEAVY, store=store))
    assert found.change is Change.UNDOING
    assert found.text == (
        "stock.release undoes Reserved for Refused now; then it did for Refunded: another order of undoing"
    )


def test_two_undoings_of_one_service_that_swap_places_are_told():
    class Labelled(Event, topic="stock"):
        order_id: str

    class Peeled(Event, topic="stock"):
        order_id: str

    def stock(*, labels_first: bool) -> Service:
        stock = Service("stock")

        @stock.handles
        def reserve(placed: Placed) -> tuple[Reserved, Labelled]:
            return stock_reserve(placed), Labelled(order_id=placed.order_id)

        peeled_for, released_for = (Refused, Refunded) if labels_first else (Refunded, Refused)

        @stock.compensates
        def peel(cause: peeled_for, labelled: Labelled) -> Peeled:
            return Peeled(order_id=labelled.order_id)

        @stock.compensates
        def release(cause: released_for, reserved: Reserved) -> Released:
            return Released(order_id=reserved.order_id)

        return stock

    orders, _, payments, shipping = shop()

    def drive(s: Scenario) -> None:
        s.hold("shipping", service=payments)
        s.settle()
        s.advance(LONG)
        s.release()
        s.settle()

    recording = record(TOO_HEAVY, services=(orders, stock(labels_first=True), payments, shipping), drive=drive)
    assert replay([stock(labels_first=True)], recording) == []
    found = [each.text for each in replay([stock(labels_first=False)], recording)]
    assert (
        "stock.release undoes Reserved before stock.peel undoes Labelled now; then it did after it: another order of "
        "undoing"
    ) in found


# Identity.


@SOURCES
def test_a_handler_that_is_renamed_is_told_how_to_keep_its_identity(store):
    def renamed(**keeps: str) -> Service:
        payments = Service("payments")

        @payments.provides
        def gateway() -> Iterator[Gateway]:
            yield Gateway()

        @payments.handles(**keeps)
        def charge(placed: Placed, reserved: Reserved, ctx: Context, gateway: Gateway) -> Captured | Declined:
            raise AssertionError("it is not called")

        @payments.compensates
        def refund(cause: Refused | Overdue, captured: Captured | None, placed: Placed) -> Refunded:
            return Refunded(order_id=placed.order_id)

        return payments

    recording = record(WELL, TOO_HEAVY, store=store)
    found = replay([renamed()], recording)
    assert told(found) == [("payments.charge", "renamed")] * 2
    assert found[0].text.startswith("payments.capture is called charge now: it emits Captured under other ids")
    assert found[0].fix == 'name="capture" keeps its identity'
    assert replay([renamed(name="capture")], recording) == []


def test_one_that_emits_something_else_is_not_the_old_one_renamed():
    shipping = Service("shipping")

    @shipping.handles
    def send(placed: Placed, paid: Captured) -> Refused:
        return Refused(order_id=paid.order_id, reason="on strike")

    assert told(replay([shipping], record(WELL))) == [("shipping.ship", "gone"), ("shipping.send", "anew")]


# What is called, and what is not.


def test_what_uses_a_resource_is_not_called_and_no_provider_runs():
    recording = record(WELL, TOO_HEAVY, TOO_MUCH)
    opened = Gateway.opened
    report = replayed(shop(), recording)
    assert [each.differences for each in report.sagas] == [[], [], []]
    assert report.uncalled == {"payments.capture": "it uses Gateway"}
    assert report.services == ["orders", "stock", "payments", "shipping"]
    assert Gateway.opened == opened


def test_what_stands_in_for_a_resource_has_its_handlers_called():
    gateway = Gateway(fee=3)
    [found] = replay(shop(), record(WELL), replace={Gateway: gateway})
    assert found.fields == (FieldChange("amount", "5", "8"),)
    assert len(set(gateway.calls)) == 1, "with the key of then"


@pytest.mark.parametrize("uncalled", [[], ["stock.reserve"]])
def test_a_handler_that_is_named_is_not_called(uncalled):
    calls = []
    stock = Service("stock")

    @stock.handles
    def reserve(placed: Placed) -> Reserved:
        calls.append(placed)
        return stock_reserve(placed)

    report = replayed([stock], record(WELL), uncalled=uncalled)
    assert report.uncalled == dict.fromkeys(uncalled, "it was named")
    assert bool(calls) is not bool(uncalled)


def test_a_new_step_that_must_not_be_called_says_that_nobody_knows_what_it_does():
    class Billed(Event, topic="payments"):
        order_id: str

    payments = payment_service()

    @payments.handles
    def fee(confirmed: Confirmed, gateway: Gateway) -> Billed:
        raise AssertionError("it is not called")

    [found] = replay([payments], record(WELL))
    assert found.text == (
        "payments.fee runs now for Confirmed; what it emits is not known, for it is not called: it uses Gateway; then it "
        "did not run"
    )


def test_handlers_that_share_a_state_are_called_all_or_none():
    class Seen(State):
        orders: int = 0

    def stock() -> Service:
        stock = Service("stock")

        @stock.provides
        def gateway() -> Iterator[Gateway]:
            yield Gateway()

        @stock.handles
        def reserve(placed: Placed, seen: Seen, gateway: Gateway) -> Reserved:
            seen.orders += 1
            return stock_reserve(placed)

        @stock.compensates
        def release(cause: Declined | Refunded, reserved: Reserved, seen: Seen) -> Released:
            return Released(order_id=f"{reserved.order_id} of {seen.orders}")

        return stock

    orders, _, payments, shipping = shop()
    services = (orders, stock(), payments, shipping)
    with Scenario(*services) as s:
        for each in (services[1], payments):
            s.replace(each, Gateway, Gateway())
        s.publish(TOO_MUCH)
        s.settle()
        recording = recorded(s.broker)
    report = replayed([stock()], recording)
    assert report.sagas[0].differences == []
    assert report.uncalled["stock.release"] == "it shares a State with reserve"
    assert replay([stock()], recording, replace={Gateway: Gateway()}) == []


def test_handlers_of_every_form_are_called():
    class Asked(Event, topic="questions"):
        ask_id: str

    class Answered(Event, topic="questions"):
        ask_id: str
        by: str

    class Closed(Event, topic="questions"):
        ask_id: str

    def desk(by: str) -> Service:
        desk = Service("desk")
        desk.owns(Saga("question", starts=Asked, completes=Closed, key="ask_id"))

        @desk.handles
        async def waits(asked: Asked) -> Answered:
            return Answered(ask_id=asked.ask_id, by=f"{by} async")

        @desk.handles(thread=True)
        def blocks(asked: Asked) -> Answered:
            return Answered(ask_id=asked.ask_id, by=f"{by} thread")

        @desk.handles
        def yields(asked: Asked) -> Iterator[Answered]:
            yield Answered(ask_id=asked.ask_id, by=f"{by} first")
            yield Answered(ask_id=asked.ask_id, by=f"{by} second")

        return desk

    recording = record(Asked(ask_id="1"), services=(desk("Kim"),))
    assert replay([desk("Kim")], recording) == []
    changed = [field for each in replay([desk("Ines")], recording) for field in each.fields]
    assert [field.now for field in changed] == ["'Ines async'", "'Ines thread'", "'Ines first'", "'Ines second'"]


async def test_it_may_be_asked_within_a_running_loop():
    assert replay(shop(), record(WELL), replace={Gateway: Gateway()}) == []


# What cannot be read.


@SOURCES
def test_an_event_that_todays_models_cannot_read_is_told_once(store):
    class PlacedToday(Event, topic="orders", name="orders.Placed"):
        order_id: str
        customer_id: str

    stock = Service("stock")

    @stock.handles
    def reserve(placed: PlacedToday) -> Reserved:
        raise AssertionError("nothing comes to it")

    [found] = replay([stock], record(WELL, store=store))
    assert (found.service, found.change) == ("stock", Change.UNREADABLE)
    assert found.text.startswith("Placed cannot be read by today's models of stock: ")
    assert "customer_id" in found.text


def test_a_recorded_outcome_that_cannot_be_read_is_told_once():
    class CapturedToday(Event, topic="payments", name="payments.Captured"):
        order_id: str
        currency: str

    payments = Service("payments")

    @payments.provides
    def gateway() -> Iterator[Gateway]:
        yield Gateway()

    @payments.handles
    def capture(placed: Placed, reserved: Reserved, gateway: Gateway) -> CapturedToday:
        raise AssertionError("it is not called")

    [found] = replay([payments], record(WELL))
    assert found.text.startswith("Captured cannot be read by today's models of payments: ")


def test_an_outcome_that_the_service_does_not_name_any_more_is_told():
    class Paid(Event, topic="payments"):
        order_id: str

    payments = Service("payments")

    @payments.provides
    def gateway() -> Iterator[Gateway]:
        yield Gateway()

    @payments.handles
    def capture(placed: Placed, reserved: Reserved, gateway: Gateway) -> Paid:
        raise AssertionError("it is not called")

    [found] = replay([payments], record(WELL))
    assert found.change is Change.EMITS
    assert found.text == "payments.capture emitted Captured then for Reserved; payments does not name Captured any more"


def test_a_saga_that_is_too_long_is_told_and_not_replayed():
    class Counted(Event, topic="counts"):
        count: int

    class Started(Event, topic="counts"):
        count: int

    class Done(Event, topic="counts"):
        count: int

    def counter() -> Service:
        counter = Service("counter")
        counter.owns(Saga("count", starts=Started, completes=Done))

        @counter.handles
        def count(started: Started) -> Iterator[Counted]:
            for number in range(started.count):
                yield Counted(count=number)

        return counter

    recording = record(Started(count=EVENTS_MAX - 1), Started(count=EVENTS_MAX), services=(counter(),))
    [found] = replay([counter()], recording)
    assert found.saga_id == recording.sagas[1].saga_id
    assert found.text == f"it has more than {EVENTS_MAX} events or notes, and sagas that long are not replayed"


def test_services_that_cannot_run_are_refused():
    broken = Service("broken")

    @broken.handles
    def strange(placed: Placed, what: dict) -> Reserved:
        return stock_reserve(placed)

    with pytest.raises(DeclarationError):
        replay([broken], record(WELL))


def test_the_same_replay_gives_the_same_answer():
    recording = record(WELL, TOO_HEAVY, TOO_MUCH, seed=7)
    changed = [order_service(), shipping_service()]
    assert replay(changed, recording) == replay(changed, recording)
