"""A person retries or resolves what waits. Rule 28: safe to do twice, and the first to commit wins."""

from datetime import timedelta
from typing import Any, Literal

import pytest

from choreo import Context, Event, Failure, Retry, Saga, SagaState, Service, Settings
from choreo.records import COMMANDS, Command
from choreo.testing import Scenario
from choreo.testing.saga_handle import SagaHandle
from choreo.tracker import Flag
from choreo.transport import Outgoing

DELIVERIES = ["exactly_once", "at_least_once"]


class Placed(Event, topic="orders"):
    order_id: str = "1"


class Confirmed(Event, topic="orders"):
    pass


class Cancelled(Event, topic="orders"):
    pass


class Captured(Event, topic="payments"):
    amount: int


class Unknown(Failure, topic="payments"):
    pass


class Refunded(Event, topic="payments"):
    known: bool


class Rejected(Failure, topic="shipping"):
    pass


@pytest.fixture(params=DELIVERIES)
def settings(request: pytest.FixtureRequest) -> Settings:
    return Settings.model_construct(delivery=request.param)


class Bank:
    def __init__(self) -> None:
        self.open = False
        self.keys: list[str] = []


def services(bank: Bank, *, otherwise: bool = False, delay_s: float = 1) -> list[Service]:
    orders = Service("orders")
    orders.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))
    orders.publishes(Rejected, by="a carrier")

    @orders.handles
    def confirm(captured: Captured) -> Confirmed:
        return Confirmed()

    @orders.handles
    def cancel(cause: Rejected | Unknown, refunded: Refunded) -> Cancelled:
        return Cancelled()

    payments = Service("payments")

    @payments.handles(retry=Retry(attempts=2, delay_s=delay_s, delay_s_max=delay_s))
    def capture(placed: Placed, ctx: Context) -> Captured:
        bank.keys.append(ctx.idempotency_key)
        if not bank.open:
            raise ConnectionError("closed")
        return Captured(amount=3)

    @payments.compensates(retry=Retry(attempts=1))
    def refund(cause: Rejected | Unknown, captured: Captured | None, placed: Placed) -> Refunded:
        if not bank.open:
            raise ConnectionError("closed")
        return Refunded(known=captured is not None)

    if otherwise:

        @payments.otherwise(capture, retry=Retry(attempts=1))
        def gave_up(placed: Placed, error: Exception) -> Unknown:
            raise error

    return [orders, payments]


def command(
    s: Scenario,
    saga: SagaHandle,
    what: Literal["retry", "resolve"],
    *,
    event: Event | None = None,
    command_id: str = "c-1",
    **more: Any,
) -> None:
    step = next(each for each in saga.steps if each.name == "capture")
    given = Command(
        command_id=command_id,
        command=what,
        saga_id=saga.saga_id,
        event_type=type(event).__choreo_type__ if event is not None else "",
        payload=event.model_dump(mode="json") if event is not None else None,
        at=s.now,
        **{
            "service": "payments",
            "handler": "capture",
            "branch": step.branch,
            "trigger": step.trigger,
            "actor": "ana",
            "reason": "the bank is open again",
            **more,
        },
    )
    sender = s.broker.sender()
    sender.enqueue(Outgoing(COMMANDS, saga.saga_id.encode(), given.to_bytes(), []), lambda error: None)
    sender.close()


def notes(saga: SagaHandle, *kinds: str) -> list[str]:
    return [each.kind for each in saga.view.notes if each.kind in kinds]


def parked(s: Scenario) -> SagaHandle:
    saga = s.publish(Placed())
    s.settle()
    assert Flag.PARKED in saga.flags
    return saga


def test_r28_a_parked_step_is_tried_again_from_its_first_attempt(settings: Settings):
    bank = Bank()
    with Scenario(*services(bank), settings=settings, park=True) as s:
        saga = parked(s)
        command(s, saga, "retry")
        s.settle()
        assert len(bank.keys) == 4, "two attempts, then two more"
        assert Flag.PARKED in saga.flags
        bank.open = True
        command(s, saga, "retry", command_id="c-2")
        s.settle()
        assert len(set(bank.keys)) == 1
        assert saga.emitted == [Placed, Captured, Confirmed]
        assert saga.state is SagaState.COMPLETED
        assert saga.flags == frozenset()


def test_r28_the_same_command_twice_is_once(settings: Settings):
    bank = Bank()
    with Scenario(*services(bank), settings=settings, park=True) as s:
        saga = parked(s)
        bank.open = True
        command(s, saga, "retry")
        command(s, saga, "retry")
        s.settle()
        assert saga.emitted.count(Captured) == 1
        assert len(bank.keys) == 3
        assert sorted(notes(saga, "resumed", "refused")) == ["refused", "resumed"]


def test_r28_it_is_resolved_with_an_event_that_the_step_may_emit(settings: Settings):
    bank = Bank()
    with Scenario(*services(bank), settings=settings, park=True) as s:
        saga = parked(s)
        command(s, saga, "resolve", event=Captured(amount=9))
        s.settle()
        assert saga.event(Captured).amount == 9
        assert saga.events[1].source == "/payments/capture"
        assert saga.state is SagaState.COMPLETED
        assert len(bank.keys) == 2, "the handler did not run"
        [told] = [each for each in saga.view.notes if each.kind == "resolved"]
        assert told.reason == "the bank is open again"


def test_r28_it_is_resolved_with_nothing(settings: Settings):
    with Scenario(*services(Bank()), settings=settings, park=True) as s:
        saga = parked(s)
        command(s, saga, "resolve")
        s.settle()
        assert saga.emitted == [Placed]
        assert Flag.PARKED not in saga.flags


def test_r28_it_is_resolved_with_what_its_otherwise_may_emit_and_that_counts_as_unknown(settings: Settings):
    bank = Bank()
    with Scenario(*services(bank, otherwise=True), settings=settings, park=True) as s:
        saga = parked(s)
        bank.open = True
        command(s, saga, "resolve", event=Unknown(reason="nobody knows"))
        s.settle()
        assert saga.emitted == [Placed, Unknown, Refunded, Cancelled]
        assert saga.event(Refunded).known is False
        assert saga.state is SagaState.FAILED


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"event_type": "orders.Confirmed", "payload": {}}, "emits payments.Captured"),
        ({"event_type": "payments.Captured", "payload": {"amount": "many"}}, "that is no payments.Captured"),
        ({"event_type": "payments.Captured", "payload": None}, "that is no payments.Captured"),
        ({"trigger": "another"}, "has not run"),
        ({"handler": "refund"}, "has not run"),
    ],
)
def test_r28_what_cannot_be_done_is_refused_and_told(change: dict[str, Any], why: str):
    with Scenario(*services(Bank()), park=True) as s:
        saga = parked(s)
        step = next(each for each in saga.steps if each.name == "capture")
        given = {
            "command_id": "c",
            "command": "resolve",
            "saga_id": saga.saga_id,
            "service": "payments",
            "handler": "capture",
            "trigger": step.trigger,
            "actor": "ana",
            "reason": "r",
            "at": s.now,
        }
        sender = s.broker.sender()
        value = Command(**{**given, **change}).to_bytes()
        sender.enqueue(Outgoing(COMMANDS, saga.saga_id.encode(), value, []), lambda error: None)
        sender.close()
        s.settle()
        [told] = [each for each in saga.view.notes if each.kind == "refused"]
        assert why in told.error
        assert saga.emitted == [Placed]
        assert Flag.PARKED in saga.flags


def test_r28_two_operators_at_once_the_first_to_commit_wins(settings: Settings):
    bank = Bank()
    bank.open = False
    with Scenario(*services(bank), settings=settings, park=True) as s:
        saga = parked(s)
        command(s, saga, "resolve", event=Captured(amount=1), command_id="one")
        command(s, saga, "resolve", event=Captured(amount=2), command_id="two", actor="ben")
        s.settle()
        assert saga.event(Captured).amount == 1
        assert sorted(notes(saga, "resolved", "refused")) == ["refused", "resolved"]


def test_r28_a_command_and_a_timer_the_first_to_commit_wins(settings: Settings):
    bank = Bank()
    with Scenario(*services(bank, delay_s=60), settings=settings, park=True) as s:
        saga = s.publish(Placed())
        s.advance(timedelta(0))
        assert bank.keys
        bank.open = True
        command(s, saga, "resolve", event=Captured(amount=5))
        s.settle()
        assert saga.event(Captured).amount == 5
        assert len(bank.keys) == 1, "the retry was called off"


def test_r22_a_stuck_compensation_is_mended_and_the_saga_fails_as_it_should(settings: Settings):
    bank = Bank()
    bank.open = True
    orders, payments = services(bank)
    with Scenario(orders, payments, settings=settings, park=True) as s:
        s.hold("payments", service=orders)
        saga = s.publish(Placed())
        s.settle()
        bank.open = False
        s.publish(Rejected(reason="lost"), key="1")
        s.settle()
        s.release()
        s.settle()
        assert saga.state is SagaState.COMPENSATING
        assert saga.flags == {Flag.PARKED, Flag.STUCK}
        bank.open = True
        captured = next(each for each in saga.events if isinstance(each.event, Captured))
        step = next(each for each in saga.steps if each.name == "capture")
        assert step.status == "parked", "its undoing is"
        command(s, saga, "retry", handler="refund", trigger=captured.event_id)
        s.settle()
        assert saga.emitted == [Placed, Captured, Rejected, Refunded, Cancelled]
        assert saga.event(Refunded).known is True
        assert saga.state is SagaState.FAILED
        assert saga.flags == frozenset()


def test_r15_a_cause_cancels_a_parked_step_and_a_command_comes_too_late(settings: Settings):
    bank = Bank()
    with Scenario(*services(bank), settings=settings, park=True) as s:
        saga = parked(s)
        bank.open = True
        s.publish(Rejected(reason="lost"), key="1")
        s.settle()
        command(s, saga, "retry")
        s.settle()
        assert saga.emitted == [Placed, Rejected, Refunded, Cancelled]
        assert notes(saga, "refused") == ["refused"]


def test_commands_for_other_services_and_unknown_sagas_do_no_harm():
    with Scenario(*services(Bank()), park=True) as s:
        saga = parked(s)
        command(s, saga, "retry", service="elsewhere")
        sender = s.broker.sender()
        for value in (b"", b"{", b"[]", b'{"command": "retry"}', b"\xff", b"[" * 100_000):
            sender.enqueue(Outgoing(COMMANDS, b"nobody", value, []), lambda error: None)
        sender.close()
        s.settle()
        assert Flag.PARKED in saga.flags
        assert len(s.broker.records("payments.dlq")) == len(s.broker.records("orders.dlq")) == 6


def test_r28_a_fan_out_is_resolved_with_a_branch_that_can_be_gathered():
    class Asked(Event, topic="orders"):
        n: int

    class Made(Event, topic="orders"):
        n: int

    orders = Service("orders")
    orders.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))

    @orders.handles
    def make(asked: Asked) -> Made:
        return Made(n=asked.n)

    @orders.handles
    def complete(made: list[Made]) -> Confirmed:
        return Confirmed()

    payments = Service("payments")

    @payments.handles(name="capture", retry=Retry(attempts=1))
    def split(placed: Placed) -> list[Asked]:
        raise ConnectionError("away")

    with Scenario(orders, payments, park=True) as s:
        saga = s.publish(Placed())
        s.settle()
        command(s, saga, "resolve", event=Asked(n=4))
        s.settle()
        assert saga.event(Made).n == 4
        assert saga.state is SagaState.COMPLETED
