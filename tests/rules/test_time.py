"""Deadlines and delayed events: rules 23 to 25, in memory and in virtual time."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from choreo import Event, Failure, Later, Saga, SagaState, Service, Settings
from choreo.testing import Scenario
from choreo.testing.memory_transport import Reached

MINUTE = timedelta(minutes=1)
DELIVERIES = ["exactly_once", "at_least_once"]


class Placed(Event, topic="orders"):
    order_id: str = "1"
    patience_s: float = 300.0


class Confirmed(Event, topic="orders"):
    pass


class TimedOut(Failure, topic="orders"):
    pass


class Cancelled(Event, topic="orders"):
    pass


class Paid(Event, topic="payments"):
    pass


class Refused(Failure, topic="payments"):
    pass


class Reminded(Event, topic="reminders"):
    pass


def told(scenario: Scenario) -> list[str]:
    """Return the handlers of all notes, in order."""
    return [json.loads(each.value)["handler"] for each in scenario.broker.records("choreo.journal")]


def orders(*, computed: bool = False, after_abort: bool = False) -> Service:
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))

    def patience(placed: Placed) -> timedelta:
        return timedelta(seconds=placed.patience_s)

    @service.deadline(Confirmed | Cancelled, within=patience if computed else 5 * MINUTE, after_abort=after_abort)
    def overdue(placed: Placed) -> TimedOut:
        return TimedOut(reason="nobody paid")

    @service.handles
    def confirm(paid: Paid) -> Confirmed:
        return Confirmed()

    @service.handles
    def cancel(cause: TimedOut | Refused) -> Cancelled:
        return Cancelled()

    service.publishes(Paid, Refused, by="a bank")
    return service


@pytest.fixture(params=DELIVERIES)
def settings(request: pytest.FixtureRequest) -> Settings:
    return Settings.model_construct(delivery=request.param)


def test_r23_a_deadline_fires_where_nothing_came_in_time(settings: Settings):
    with Scenario(orders(), settings=settings) as s:
        saga = s.publish(Placed())
        s.advance(5 * MINUTE - timedelta(milliseconds=1))
        assert saga.emitted == [Placed]
        s.advance(timedelta(milliseconds=1))
        assert saga.emitted == [Placed, TimedOut, Cancelled]
        assert saga.state is SagaState.FAILED
        s.settle()
        assert saga.emitted == [Placed, TimedOut, Cancelled], "it fires once"


def test_r23_an_awaited_event_in_time_keeps_it_from_firing(settings: Settings):
    service = orders()
    with Scenario(service, settings=settings) as s:
        saga = s.publish(Placed())
        s.advance(4 * MINUTE)
        s.publish(Paid(), key="1")
        s.settle()
        assert s.now < datetime(2026, 1, 1, 0, 5, tzinfo=UTC), "nothing was left to wait for"
        s.advance(timedelta(days=30))
        assert saga.emitted == [Placed, Paid, Confirmed]
        assert saga.state is SagaState.COMPLETED


def test_r23_it_counts_from_the_trigger_and_may_be_computed_from_it(settings: Settings):
    with Scenario(orders(computed=True), settings=settings) as s:
        saga = s.publish(Placed(patience_s=90))
        s.advance(timedelta(seconds=89))
        assert TimedOut not in saga.emitted
        s.advance(timedelta(seconds=1))
        assert TimedOut in saga.emitted


def test_r23_a_computed_deadline_that_raises_is_parked_and_nothing_is_lost():
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))

    def broken(placed: Placed) -> timedelta:
        raise KeyError("sla")

    @service.deadline(Confirmed, within=broken)
    def overdue(placed: Placed) -> TimedOut:
        return TimedOut(reason="late")

    @service.handles
    def confirm(placed: Placed) -> Confirmed:
        return Confirmed()

    with Scenario(service, park=True) as s:
        saga = s.publish(Placed())
        s.settle()
        assert Confirmed in saga.emitted
        assert [(each.name, each.status) for each in saga.steps if each.name == "overdue"] == [("overdue", "parked")]


def test_r23_timers_survive_a_restart_and_fire_late_rather_than_never(settings: Settings):
    service = orders()
    with Scenario(service, settings=settings) as s:
        saga = s.publish(Placed())
        s.advance(MINUTE)
        s.restart(service)
        s.advance(5 * MINUTE)
        assert saga.emitted == [Placed, TimedOut, Cancelled]


def test_r23_an_awaited_event_in_the_backlog_wins_over_an_overdue_timer(settings: Settings):
    service = orders()
    with Scenario(service, settings=settings) as s:
        saga = s.publish(Placed())
        s.advance(MINUTE)
        s.hold("payments", service=service)
        s.publish(Paid(), key="1")
        # Down until long after the deadline: the answer has come meanwhile, and is still to be read.
        s.restart(service)
        s.advance(10 * MINUTE)
        assert saga.emitted == [Placed, Paid], "the backlog comes first"
        s.release()
        s.settle()
        assert saga.emitted == [Placed, Paid, Confirmed]


def test_r23_a_deadline_is_not_set_where_the_awaited_event_came_first():
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))
    service.publishes(Paid, Refused, by="a bank")

    @service.deadline(Refused, within=MINUTE)
    def no_answer(paid: Paid) -> Reminded:
        return Reminded()

    with Scenario(service) as s:
        saga = s.publish(Placed())
        s.publish(Refused(reason="no"), key="1")
        s.settle()
        s.publish(Paid(), key="1")
        s.settle()
        assert Reminded not in saga.emitted


@pytest.mark.parametrize("after_abort", [False, True])
def test_r24_deadlines_end_with_a_failure_unless_they_outlive_it(settings: Settings, after_abort: bool):
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))
    service.publishes(Refused, by="a bank")

    @service.deadline(Confirmed, within=MINUTE, after_abort=after_abort)
    def escalate(placed: Placed) -> Reminded:
        return Reminded()

    @service.handles
    def look(refused: Refused) -> None:
        return None

    with Scenario(service, settings=settings) as s:
        saga = s.publish(Placed())
        s.publish(Refused(reason="no"), key="1")
        s.settle()
        assert (Reminded in saga.emitted) is after_abort


def test_r24_deadlines_end_with_the_saga_in_every_service(settings: Settings):
    watching = Service("watching")

    @watching.deadline(Refused, within=timedelta(days=1))
    def late(placed: Placed) -> Reminded:
        return Reminded()

    with Scenario(orders(), watching, settings=settings) as s:
        saga = s.publish(Placed())
        s.publish(Paid(), key="1")
        s.settle()
        assert saga.emitted == [Placed, Paid, Confirmed]
        assert s.now < datetime(2026, 1, 1, 1, tzinfo=UTC)


def approvals(unless: Callable[[], object]) -> Service:
    service = Service("approvals")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))
    service.publishes(Paid, by="a person")

    @service.handles
    def remind(placed: Placed) -> Later[Reminded]:
        return Later(Reminded(), after=timedelta(days=1), unless=unless())  # type: ignore[arg-type]

    @service.handles
    def done(paid: Paid) -> Confirmed:
        return Confirmed()

    return service


def test_r24_a_later_comes_when_it_is_due_and_not_before(settings: Settings):
    with Scenario(approvals(lambda: Paid), settings=settings) as s:
        saga = s.publish(Placed())
        s.advance(timedelta(hours=23))
        assert saga.emitted == [Placed]
        s.advance(timedelta(hours=1))
        assert saga.emitted == [Placed, Reminded]
        assert saga.events[1].occurred_at == datetime(2026, 1, 2, tzinfo=UTC)
        s.publish(Paid(), key="1")
        s.settle()
        assert saga.emitted == [Placed, Reminded, Paid, Confirmed]


def test_r24_a_later_is_called_off_by_what_it_names(settings: Settings):
    with Scenario(approvals(lambda: Paid), settings=settings) as s:
        saga = s.publish(Placed())
        s.advance(timedelta(hours=1))
        s.publish(Paid(), key="1")
        s.settle()
        s.advance(timedelta(days=3))
        assert Reminded not in saga.emitted


def test_a_later_that_names_what_the_service_does_not_read_is_parked_with_the_reason():
    with Scenario(approvals(lambda: Refused), park=True) as s:
        saga = s.publish(Placed())
        s.settle()
        [step] = [each for each in saga.steps if each.name == "remind"]
        assert step.status == "parked"
        assert "payments.Refused" in step.error
        assert "does not read" in step.error


def test_r25_weeks_of_virtual_time_take_no_time():
    with Scenario(orders(computed=True)) as s:
        sagas = [s.publish(Placed(order_id=str(n), patience_s=86_400 * (n + 1))) for n in range(50)]
        s.settle()
        assert s.now == datetime(2026, 2, 20, tzinfo=UTC)
        assert {each.state for each in sagas} == {SagaState.FAILED}


def test_r10_what_is_owed_is_published_again_by_a_successor_once_and_not_for_ever():
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))
    service.publishes(Paid, by="a bank")

    @service.handles
    def confirm(paid: Paid) -> Confirmed:
        return Confirmed()

    with Scenario(service, settings=Settings.model_construct(delivery="at_least_once")) as s:
        # Held until the start comes, whose record would not come again for it.
        s.publish(Paid(), key="1")
        s.settle()
        s.publish(Placed())
        s.advance(timedelta(0))
        before = len(s.broker.records("orders"))
        for _ in range(4):
            s.restart(service)
            s.settle()
        assert len(s.broker.records("orders")) <= before + 1


def test_r10_the_note_of_a_held_event_s_step_is_owed_too():
    """Memory was acknowledged, and then nothing was: the record that freed it brings back its own note alone."""
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))
    service.publishes(Paid, by="a bank")

    @service.handles
    def confirm(placed: Placed) -> Confirmed | None:
        return None

    @service.handles
    def book(paid: Paid) -> None:
        pass

    with Scenario(service, settings=Settings.model_construct(delivery="at_least_once")) as s:
        s.publish(Paid(), key="1")
        s.settle()
        s.broker.lose_commit_response("orders", Reached.MEMORY)
        s.publish(Placed())
        s.settle()
        assert set(told(s)) == {"confirm", "book"}
