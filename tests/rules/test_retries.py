"""Failing steps: tried again without blocking anybody, in order, then ended or parked. Rules 15, 16, 22, 26 and 27."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from choreo import Context, Event, Failure, Retry, Saga, SagaState, Service, Settings
from choreo.testing import Scenario
from choreo.tracker import Flag

DELIVERIES = ["exactly_once", "at_least_once"]


class Placed(Event, topic="orders"):
    order_id: str = "1"


class Changed(Event, topic="orders"):
    n: int = 0


class Confirmed(Event, topic="orders"):
    pass


class Cancelled(Event, topic="orders"):
    pass


class Captured(Event, topic="payments"):
    n: int = 0


class Noted(Event, topic="payments"):
    n: int


class Unknown(Failure, topic="payments"):
    pass


class Refunded(Event, topic="payments"):
    known: bool


class Rejected(Failure, topic="shipping"):
    pass


@pytest.fixture(params=DELIVERIES)
def settings(request: pytest.FixtureRequest) -> Settings:
    return Settings.model_construct(delivery=request.param)


def orders() -> Service:
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))
    service.publishes(Changed, Rejected, by="a customer")

    @service.handles
    def confirm(captured: Captured) -> Confirmed:
        return Confirmed()

    @service.handles
    def cancel(refunded: Refunded) -> Cancelled:
        return Cancelled()

    return service


class Bank:
    """Fails as often as it is told to."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.attempts: list[int] = []
        self.keys: set[str] = set()

    def capture(self, ctx: Context) -> Captured:
        self.attempts.append(ctx.attempt)
        self.keys.add(ctx.idempotency_key)
        if len(self.attempts) <= self.failures:
            raise ConnectionError(f"bank away, attempt {ctx.attempt}")
        return Captured()


def payments(bank: Bank, *, otherwise: bool = False, optional: bool = True, attempts: int = 5) -> Service:
    service = Service("payments")

    @service.handles(retry=Retry(attempts=attempts, delay_s=1, delay_s_max=8))
    def capture(placed: Placed, ctx: Context) -> Captured:
        return bank.capture(ctx)

    @service.handles
    def note(changed: Changed) -> Noted:
        return Noted(n=changed.n)

    if otherwise:

        @service.otherwise(capture)
        def gave_up(placed: Placed, error: Exception) -> Unknown:
            return Unknown(reason=f"{type(error).__name__}: {error}")

    if optional:

        @service.compensates
        def refund(cause: Rejected | Unknown, captured: Captured | None, placed: Placed) -> Refunded:
            return Refunded(known=captured is not None)

    else:

        @service.compensates(name="refund")
        def refund_known(cause: Rejected | Unknown, captured: Captured) -> Refunded:
            return Refunded(known=True)

    return service


def test_r26_a_failing_step_is_tried_again_later_under_one_key(settings: Settings):
    bank = Bank(2)
    with Scenario(orders(), payments(bank), settings=settings) as s:
        saga = s.publish(Placed())
        s.advance(timedelta(0))
        assert bank.attempts == [1]
        assert [each.status for each in saga.steps if each.name == "capture"] == ["retrying"]
        assert saga.state is SagaState.PENDING
        s.settle()
        assert bank.attempts == [1, 2, 3]
        assert len(bank.keys) == 1
        assert saga.emitted == [Placed, Captured, Confirmed]
        [step] = [each for each in saga.steps if each.name == "capture"]
        assert (step.status, step.attempts) == ("completed", 3)
        assert 1.5 < (s.now - saga.events[0].occurred_at).total_seconds() < 3.1


def test_r26_other_sagas_go_on_while_one_is_retried(settings: Settings):
    bank = Bank(0)
    bank.capture_plain = bank.capture  # type: ignore[attr-defined]
    service = Service("payments")

    @service.handles(retry=Retry(attempts=100, delay_s=10, delay_s_max=10))
    def capture(placed: Placed) -> Captured:
        if placed.order_id == "poison":
            raise ConnectionError("never")
        return Captured()

    with Scenario(orders(), service, settings=settings, park=True) as s:
        poison = s.publish(Placed(order_id="poison"))
        healthy = [s.publish(Placed(order_id=str(n))) for n in range(20)]
        s.advance(timedelta(0))
        assert {each.state for each in healthy} == {SagaState.COMPLETED}
        assert poison.state is SagaState.PENDING


def test_r26_later_events_of_the_saga_wait_behind_it_in_their_order(settings: Settings):
    bank = Bank(3)
    with Scenario(orders(), payments(bank), settings=settings) as s:
        saga = s.publish(Placed())
        s.advance(timedelta(0))
        for n in range(3):
            s.publish(Changed(n=n), key="1")
        s.advance(timedelta(0))
        assert Noted not in saga.emitted
        s.settle()
        assert saga.emitted.index(Captured) < saga.emitted.index(Noted)
        assert [each.event.n for each in saga.events if isinstance(each.event, Noted)] == [0, 1, 2]


def test_r26_what_waits_survives_a_restart(settings: Settings):
    bank = Bank(1)
    service = payments(bank)
    with Scenario(orders(), service, settings=settings) as s:
        saga = s.publish(Placed())
        s.advance(timedelta(0))
        s.publish(Changed(n=7), key="1")
        s.advance(timedelta(0))
        s.restart(service)
        s.settle()
        assert bank.attempts == [1, 2]
        assert [type(each) for each in (saga.event(Captured), saga.event(Noted))] == [Captured, Noted]


def test_r26_a_duplicate_behind_a_retry_runs_nothing_twice(settings: Settings):
    bank = Bank(1)
    with Scenario(orders(), payments(bank), settings=settings) as s:
        saga = s.publish(Placed())
        s.advance(timedelta(0))
        s.publish(Placed())
        s.publish(Changed(n=1), key="1", event_id="same")
        s.publish(Changed(n=1), key="1", event_id="same")
        s.settle()
        assert bank.attempts == [1, 2]
        assert saga.emitted.count(Captured) == saga.emitted.count(Noted) == 1


@pytest.mark.parametrize("optional", [True, False])
def test_r15_a_cause_cancels_a_retrying_step_without_waiting_behind_it(settings: Settings, optional: bool):
    bank = Bank(100)
    with Scenario(orders(), payments(bank, optional=optional), settings=settings) as s:
        saga = s.publish(Placed())
        s.advance(timedelta(0))
        s.publish(Changed(n=1), key="1")
        s.publish(Rejected(reason="no such street"), key="1")
        s.advance(timedelta(0))
        assert [each.status for each in saga.steps if each.name == "capture"] == ["skipped"]
        assert saga.emitted.count(Noted) == 1, "what waited behind it goes on"
        s.settle()
        assert bank.attempts == [1], "it is not tried again"
        assert (Refunded in saga.emitted) is optional
        if optional:
            assert saga.event(Refunded).known is False
            assert saga.state is SagaState.FAILED


def test_r27_spent_retries_park_the_step_and_the_saga_is_stuck(settings: Settings):
    bank = Bank(100)
    with Scenario(orders(), payments(bank), settings=settings, park=True) as s:
        saga = s.publish(Placed())
        s.settle()
        assert bank.attempts == [1, 2, 3, 4, 5]
        assert saga.flags == {Flag.PARKED, Flag.STUCK}
        [step] = [each for each in saga.steps if each.name == "capture"]
        assert (step.status, step.attempts) == ("parked", 5)
        assert "bank away, attempt 5" in step.error
        s.publish(Changed(n=4), key="1")
        s.settle()
        assert saga.event(Noted).n == 4, "a parked step blocks nobody"


def test_r27_without_park_settle_raises_what_the_handler_raised():
    with Scenario(orders(), payments(Bank(100))) as s:
        s.publish(Placed())
        with pytest.raises(ConnectionError, match="attempt 5"):
            s.settle()


def test_r27_an_otherwise_ends_the_step_and_r16_undoes_what_nobody_knows(settings: Settings):
    bank = Bank(100)
    with Scenario(orders(), payments(bank, otherwise=True), settings=settings) as s:
        saga = s.publish(Placed())
        s.settle()
        assert bank.attempts == [1, 2, 3, 4, 5]
        assert saga.emitted == [Placed, Unknown, Refunded, Cancelled]
        assert saga.event(Unknown).reason == "ConnectionError: bank away, attempt 5"
        assert saga.event(Refunded).known is False
        assert saga.state is SagaState.FAILED
        [step] = [each for each in saga.steps if each.name == "capture"]
        assert step.status == "compensated"
        unknown, refunded = saga.events[1], saga.events[2]
        assert unknown.source == "/payments/gave_up"
        assert refunded.compensates_id in bank.keys


def test_r27_an_otherwise_is_emitted_once_under_the_steps_own_identity(settings: Settings):
    service = payments(Bank(100), otherwise=True)
    with Scenario(orders(), service, settings=settings) as s:
        saga = s.publish(Placed())
        s.settle()
        s.restart(service)
        s.publish(Placed())
        s.settle()
        assert saga.emitted == [Placed, Unknown, Refunded, Cancelled]


def test_an_otherwise_that_fails_is_tried_again_and_parked_in_the_end():
    calls: list[str] = []
    service = Service("payments")

    @service.handles(retry=Retry(attempts=2, delay_s=1))
    def capture(placed: Placed) -> Captured:
        calls.append("capture")
        raise ConnectionError("away")

    @service.otherwise(capture, retry=Retry(attempts=3, delay_s=1))
    def gave_up(placed: Placed, error: Exception) -> Unknown:
        calls.append(str(error))
        raise ValueError("worse")

    with Scenario(orders(), service, park=True) as s:
        saga = s.publish(Placed())
        s.settle()
        assert calls == ["capture", "capture", "away", "ConnectionError: away", "ConnectionError: away"] or calls[
            :3
        ] == ["capture", "capture", "away"]
        assert len(calls) == 5
        assert saga.flags == {Flag.PARKED, Flag.STUCK}


def test_r22_a_compensation_that_fails_is_retried_and_never_fails_the_saga_by_itself(settings: Settings):
    closed = [True]
    service = Service("payments")

    @service.handles
    def capture(placed: Placed) -> Captured:
        return Captured()

    @service.compensates(retry=Retry(attempts=3, delay_s=60))
    def refund(cause: Rejected, captured: Captured) -> Refunded:
        if closed[0]:
            raise ConnectionError("bank closed")
        return Refunded(known=True)

    with Scenario(orders(), service, settings=settings, park=True) as s:
        saga = s.publish(Placed())
        s.advance(timedelta(0))
        s.publish(Rejected(reason="no"), key="1")
        s.settle()
        s.advance(timedelta(days=365))
        assert saga.state is SagaState.COMPENSATING
        assert saga.flags == {Flag.PARKED, Flag.STUCK}
        assert Cancelled not in saga.emitted


def test_r05_a_saga_is_not_forgotten_while_a_step_of_it_waits(settings: Settings):
    bank = Bank(100)
    service = payments(bank)
    with Scenario(orders(), service, settings=settings, park=True) as s:
        saga = s.publish(Placed())
        s.settle()
        s.advance(timedelta(days=60))
        member = s.delivery.services["payments"]
        assert member.engine.memory(saga.saga_id) is not None


@pytest.mark.parametrize(
    ("raises", "attempts"),
    [(lambda: SystemExit(1), 1), (lambda: ValueError("no"), 1), (lambda: KeyError("k"), 3)],
    ids=["SystemExit", "never", "others"],
)
def test_what_is_never_retried_is_parked_at_once(raises: Callable[[], BaseException], attempts: int):
    calls: list[int] = []
    service = Service("payments")

    @service.handles(retry=Retry(attempts=3, delay_s=1, never=(ValueError,)))
    def capture(placed: Placed, ctx: Context) -> Captured:
        calls.append(ctx.attempt)
        raise raises()

    with Scenario(orders(), service, park=True) as s:
        saga = s.publish(Placed())
        s.settle()
        assert calls == list(range(1, attempts + 1))
        assert Flag.PARKED in saga.flags


@pytest.mark.parametrize("wrong", [7, "text", [Captured()], {"n": 1}, Placed])
def test_a_wrong_return_type_is_parked_at_once_and_publishes_nothing(wrong: object):
    calls: list[int] = []
    service = Service("payments")

    @service.handles
    def capture(placed: Placed) -> Captured:
        calls.append(1)
        return wrong  # type: ignore[return-value]

    with Scenario(orders(), service, park=True) as s:
        saga = s.publish(Placed())
        s.settle()
        assert calls == [1]
        assert saga.emitted == [Placed]
        [step] = [each for each in saga.steps if each.name == "capture"]
        assert step.status == "parked"
        assert "payments.capture returned" in step.error


@pytest.mark.parametrize("attempts", [1, 2])
def test_r27_an_otherwise_ends_a_step_that_was_held_and_fails_at_once(settings: Settings, attempts: int) -> None:
    payments = Service("payments")
    failures = [1]

    @payments.handles(retry=Retry(attempts=2, delay_s=1))
    def capture(_placed: Placed) -> Captured:
        if failures:
            failures.pop()
            raise RuntimeError("once")
        return Captured()

    @payments.handles(retry=Retry(attempts=attempts))
    def note(_changed: Changed) -> Noted:
        raise RuntimeError("always")

    @payments.otherwise(note)
    def given_up(_changed: Changed, error: Exception) -> Noted:
        return Noted(n=len(str(error)))

    with Scenario(orders(), payments, settings=settings) as s:
        saga = s.publish(Placed())
        s.publish(Changed(n=1), key="1")
        s.settle()

    assert sorted(each.__name__ for each in saga.emitted) == ["Captured", "Changed", "Confirmed", "Noted", "Placed"]


def test_r27_an_otherwise_ends_a_deadline_that_fails_at_once(settings: Settings) -> None:
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))

    @service.deadline(Captured, within=timedelta(minutes=5), retry=Retry(attempts=1))
    def overdue(_placed: Placed) -> Cancelled:
        raise RuntimeError("always")

    @service.otherwise(overdue)
    def given_up(_placed: Placed, error: Exception) -> Confirmed:
        return Confirmed()

    @service.handles
    def confirm(_captured: Captured) -> Confirmed:
        return Confirmed()

    with Scenario(service, settings=settings) as s:
        saga = s.publish(Placed())
        s.settle()

    assert saga.emitted == [Placed, Confirmed]
