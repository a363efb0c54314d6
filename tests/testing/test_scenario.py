"""The scenario itself: what it drives, in which order, and what it says when something is wrong."""

from datetime import timedelta

import pytest

from choreo import Event, Saga, SagaState, Service, Settings
from choreo.clock import ManualClock
from choreo.errors import ChoreoError, DeclarationError
from choreo.testing import Scenario, TransientFault
from choreo.tracker import Flag, StepStatus
from choreo.transport import Outgoing
from tests.testing.shop import (
    ALL,
    Gateway,
    InventoryReleased,
    InventoryReserved,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    PaymentCaptured,
    PaymentDeclined,
    ShipmentCreated,
    capture,
    inventory,
    payments,
    shipping,
)

DECLINED = [OrderPlaced, InventoryReserved, PaymentDeclined, InventoryReleased, OrderCancelled]
CONFIRMED = [OrderPlaced, InventoryReserved, PaymentCaptured, ShipmentCreated, OrderConfirmed]


def order(order_id="17", total=1):
    return OrderPlaced(order_id=order_id, total=total)


def test_a_declined_payment_releases_stock():
    with Scenario(*ALL) as s:
        s.replace(payments, Gateway, Gateway(limit=0))
        saga = s.publish(order())
        s.settle()
        assert saga.state is SagaState.FAILED
        assert saga.emitted == DECLINED
        assert saga.event(OrderCancelled).order_id == "17"
        assert [reason.text for reason in saga.reasons] == ["over the limit"]
        assert saga.waiting_for == []
        assert Gateway.opened == 0


def test_resources_are_open_as_long_as_the_scenario():
    with Scenario(*ALL) as s:
        saga = s.publish(order())
        assert Gateway.opened == 1
        s.settle()
        assert saga.emitted == CONFIRMED
        assert saga.state is SagaState.COMPLETED
    assert Gateway.opened == 0


def test_a_saga_that_has_only_begun_is_started_and_says_what_it_waits_for():
    with Scenario(*ALL) as s:
        saga = s.publish(order())
        assert saga.state is SagaState.STARTED
        assert saga.emitted == [OrderPlaced]
        assert saga.waiting_for != []
        assert repr(saga) == f"<saga {saga.saga_id}: OrderPlaced>"


def test_events_are_told_one_by_one_or_in_envelopes():
    with Scenario(*ALL) as s:
        saga = s.publish(order())
        s.settle()
        assert [envelope.source for envelope in saga.events][:2] == ["/orders", "/inventory/reserve"]
        with pytest.raises(LookupError, match=r"no event of type PaymentDeclined .*OrderPlaced, InventoryReserved"):
            saga.event(PaymentDeclined)
        with pytest.raises(ChoreoError, match="no event of saga"):
            _ = s.saga("0198c0de-0000-7000-8000-000000000001").view
        assert s.saga(saga.saga_id).emitted == saga.emitted


def test_the_same_order_twice_is_one_saga():
    with Scenario(*ALL) as s:
        one, two = s.publish(order()), s.publish(order())
        other = s.publish(order("18"))
        s.settle()
        assert one.saga_id == two.saga_id != other.saga_id
        assert one.emitted == other.emitted == CONFIRMED


def run(seed=None, **options):
    with Scenario(*ALL, seed=seed, **options) as s:
        s.replace(payments, Gateway, Gateway(limit=4))
        sagas = [s.publish(order(str(number), number)) for number in range(8)]
        s.settle()
        topics = sorted(s.broker.describe())
        return [(record.topic, record.key, record.value) for record in s.broker.records(*topics)], [
            (saga.state, saga.emitted) for saga in sagas
        ]


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_the_same_calls_make_the_same_run(seed):
    assert run(seed) == run(seed)


def test_a_seed_changes_the_order_and_never_the_outcome():
    plain, ends = run()
    runs = [run(seed) for seed in range(6)]
    assert len({str(records) for records, _ in runs} | {str(plain)}) > 1
    for _, found in runs:
        assert [state for state, _ in found] == [state for state, _ in ends]


def test_r10_delivery_makes_no_difference_to_outcomes():
    at_least_once = Settings.model_construct(delivery="at_least_once")
    assert run(settings=at_least_once)[1] == run()[1]


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("victim", ["orders", "inventory", "payments", "shipping"])
@pytest.mark.parametrize("fault", ["abort_next_commit", "lose_commit_response"])
def test_r10_a_commit_that_goes_wrong_changes_nothing(fault, victim, delivery):
    with Scenario(*ALL, settings=Settings.model_construct(delivery=delivery)) as s:
        saga = s.publish(order())
        getattr(s.broker, fault)(victim)
        s.settle()
        assert saga.state is SagaState.COMPLETED
        assert sorted(kind.__name__ for kind in saga.emitted) == sorted(kind.__name__ for kind in CONFIRMED)


@pytest.mark.parametrize("victim", ALL, ids=lambda each: each.name)
def test_a_service_that_is_killed_goes_on_with_what_was_committed(victim):
    with Scenario(*ALL) as s:
        saga = s.publish(order())
        for _ in range(30):
            s.restart(victim)
            if not s.step():
                break
        assert saga.emitted == CONFIRMED


def test_a_failure_may_overtake_what_it_undoes():
    """Rule 15: the reservation is held back until the failure has been read."""
    with Scenario(*ALL) as s:
        s.replace(payments, Gateway, Gateway(limit=0))
        saga = s.publish(order())
        s.hold("payments", service=inventory)
        s.settle()
        assert saga.emitted == [OrderPlaced, InventoryReserved, PaymentDeclined, OrderCancelled]
        assert saga.state is SagaState.COMPENSATING
        s.release("payments")
        s.settle()
        assert saga.emitted[-1] is InventoryReleased
        assert saga.state is SagaState.FAILED


def test_one_service_at_a_time():
    with Scenario(*ALL) as s:
        saga = s.publish(order())
        s.hold("orders")
        assert not s.step(inventory)
        s.release()
        assert s.step(inventory)
        assert saga.emitted == [OrderPlaced, InventoryReserved]
        assert not s.step(shipping)
        assert s.step()


def test_retries_pass_in_virtual_time():
    clock = ManualClock()
    with Scenario(*ALL, clock=clock) as s:
        s.replace(payments, Gateway, Gateway(breaks=2))
        before = s.now
        saga = s.publish(order())
        s.settle()
        assert saga.event(PaymentCaptured).attempt == 3
        assert s.now > before
        assert clock.now() == s.now


def test_r27_a_parked_step_raises_what_its_handler_raised():
    with Scenario(*ALL) as s:
        s.replace(payments, Gateway, Gateway(breaks=99))
        saga = s.publish(order())
        with pytest.raises(ConnectionError, match="the line is dead"):
            s.settle()
        s.settle()
        assert saga.emitted == [OrderPlaced, InventoryReserved]


def test_r27_a_parked_step_may_be_looked_at():
    with Scenario(*ALL, park=True) as s:
        s.replace(payments, Gateway, Gateway(breaks=99))
        saga = s.publish(order())
        s.settle()
        (step,) = [each for each in saga.steps if each.name == "capture"]
        assert step.status is StepStatus.PARKED
        assert "parked" in saga.flags


def test_replacing_comes_first_and_names_what_is_provided():
    with Scenario(*ALL) as s:
        with pytest.raises(ChoreoError, match="payments provides no int; it provides Gateway"):
            s.replace(payments, int, 1)
        with pytest.raises(ChoreoError, match="takes no part"):
            s.replace(Service("other"), int, 1)
        s.publish(order())
        with pytest.raises(ChoreoError, match="before the first publish"):
            s.replace(payments, Gateway, Gateway())
        with pytest.raises(ChoreoError, match="takes no part"):
            s.restart(Service("other"))
        with pytest.raises(ChoreoError, match="takes no part"):
            s.step(Service("other"))


def test_a_scenario_is_a_block():
    with pytest.raises(ChoreoError, match="with Scenario"):
        Scenario(*ALL).publish(order())


def test_mistakes_are_told_when_it_is_made():
    broken = Service("broken")

    @broken.handles
    def handler(order: OrderPlaced):
        return None

    with pytest.raises(DeclarationError):
        Scenario(broken)


def test_a_choreography_that_never_rests_is_stopped(monkeypatch):
    class Ping(Event, topic="pings"):
        number: int

    class Stopped(Event, topic="pings"):
        number: int

    player = Service("player")
    player.owns(Saga("rally", starts=Ping, completes=Stopped))

    @player.handles
    def stop(ping: Ping) -> Stopped:
        return Stopped(number=ping.number)

    monkeypatch.setattr("choreo.testing.delivery.RECORDS_MAX", 2)
    with Scenario(player) as s:
        for number in range(3):
            s.publish(Ping(number=number))
        with pytest.raises(ChoreoError, match="no rest after 2 records"):
            s.settle()


def test_ids_that_are_random_elsewhere_are_counted():
    class Asked(Event, topic="questions"):
        text: str

    class Answered(Event, topic="questions"):
        text: str

    class Hinted(Event, topic="questions"):
        text: str

    oracle = Service("oracle")
    oracle.owns(Saga("question", starts=Asked, completes=Answered))
    oracle.publishes(Hinted, by="somebody who knows")

    @oracle.handles
    def answer(asked: Asked, hint: Hinted) -> Answered:
        return Answered(text=f"{asked.text} {hint.text}")

    def ask():
        with Scenario(oracle) as s:
            one, two = s.publish(Asked(text="what")), s.publish(Asked(text="who"))
            s.publish(Hinted(text="?"), saga_id=two.saga_id)
            s.settle()
            assert one.saga_id != two.saga_id
            assert (one.emitted, two.emitted) == ([Asked], [Asked, Hinted, Answered])
            return [each.event_id for each in two.events]

    assert ask() == ask()


def test_time_stands_still_until_it_is_moved_and_what_is_over_is_forgotten():
    with Scenario(*ALL) as s:
        begun = s.now
        s.publish(order())
        s.advance(timedelta(0))
        assert s.now == begun
        remembered = s.broker.restore("orders.memory", range(6))
        assert sum(len(memories) for memories in remembered.values()) == 1
        s.advance(timedelta(days=8))
        assert s.now - begun == timedelta(days=8)
        assert not any(s.broker.restore("orders.memory", range(6)).values())


def test_what_is_no_event_is_dead_lettered_and_passed_over():
    with Scenario(*ALL) as s:
        saga = s.publish(order())
        s.broker.write([Outgoing("orders", saga.saga_id.encode(), b"garbage", [])])
        s.settle()
        assert saga.emitted == CONFIRMED
        assert len(s.broker.records("orders.dlq")) == 1


def test_the_environment_has_no_say(monkeypatch):
    monkeypatch.setenv("CHOREO_HOPS_MAX", "1")
    monkeypatch.setenv("CHOREO_DELIVERY", "nonsense")
    with Scenario(*ALL) as s:
        saga = s.publish(order())
        s.settle()
        assert saga.emitted == CONFIRMED


def test_a_saga_and_the_tracker_can_be_read_after_the_block():
    with Scenario(*ALL) as s:
        saga = s.publish(OrderPlaced(order_id="17"))
        s.settle()
        within = (saga.state, saga.events, saga.emitted, saga.steps, s.tracker.lag().records)
    assert (saga.state, saga.events, saga.emitted, saga.steps, s.tracker.lag().records) == within
    assert saga.event(OrderPlaced).order_id == "17"
    assert [view.saga_id for view in s.tracker.sagas().items] == [saga.saga_id]
    with pytest.raises(ChoreoError, match="a scenario is a block"):
        s.settle()


def test_a_saga_can_be_read_after_the_block_of_a_test_that_failed():
    sagas = []

    def failing() -> None:
        with Scenario(*ALL) as s:
            s.fail(payments, capture, times=99)
            sagas.append(s.publish(order()))
            s.settle()

    with pytest.raises(TransientFault):
        failing()
    assert Flag.PARKED in sagas[0].flags
