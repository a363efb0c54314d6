"""Compensations: originals, cancelled steps, unknown outcomes, chains, and the owner's end."""

import itertools

import pytest

from choreo import Event, Failure, Retry, Saga, Service
from choreo.event import emitted_id
from choreo.memory import MemoryFlag, Status
from tests.step.one_service import SAGA_ID, OneService


class Placed(Event, topic="orders"):
    n: int = 0


class Confirmed(Event, topic="orders"):
    pass


class Cancelled(Event, topic="orders"):
    pass


class Captured(Event, topic="payments"):
    n: int


class Refunded(Event, topic="payments"):
    n: int | None


class Shipped(Event, topic="shipping"):
    pass


class Rejected(Failure, topic="shipping"):
    pass


class Lost(Failure, topic="shipping"):
    pass


def payments(*, optional: bool = True) -> Service:
    service = Service("payments")

    @service.handles(retry=Retry(attempts=1))
    def capture(placed: Placed) -> Captured:
        if placed.n < 0:
            raise RuntimeError("gateway down")
        return Captured(n=placed.n)

    if optional:

        @service.compensates
        def refund(cause: Rejected | Lost, captured: Captured | None, placed: Placed) -> Refunded:
            return Refunded(n=None if captured is None else captured.n)
    else:

        @service.compensates(name="refund")
        def refund_only(cause: Rejected | Lost, captured: Captured) -> Refunded:
            return Refunded(n=captured.n)

    return service


def orders() -> Service:
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled))

    @service.handles
    def confirm(captured: Captured, shipped: Shipped) -> Confirmed:
        return Confirmed()

    @service.handles
    def cancel(failure: Rejected | Lost) -> Cancelled:
        return Cancelled()

    return service


def test_r14_a_compensation_gets_the_original_as_it_was_recorded():
    one = OneService(payments())
    [captured] = one.deliver(one.envelope(Placed(n=7), "placed"))
    [refunded] = one.deliver(one.envelope(Rejected(reason="no"), "rejected"))
    assert refunded.event == Refunded(n=7)
    assert refunded.compensates_id == captured.event_id
    assert refunded.causation_id == "rejected"
    assert one.calls[-1].undoes_key == emitted_id(SAGA_ID, "payments.capture", "", "placed", "effect")


def test_r14_it_runs_once_for_every_original():
    one = OneService(payments())
    one.send(Placed(n=1))
    one.send(Placed(n=2))
    assert one.send(Rejected(reason="no"), "r") == [Refunded(n=1), Refunded(n=2)]
    assert one.send(Rejected(reason="no"), "r") == []


def test_r14_an_original_from_outside_may_come_after_the_cause():
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Cancelled))

    @service.handles
    def confirm(shipped: Shipped) -> Confirmed:
        return Confirmed()

    @service.compensates
    def withdraw(cause: Rejected, placed: Placed) -> Cancelled:
        return Cancelled()

    one = OneService(service)
    assert one.send(Rejected(reason="no")) == []
    assert one.send(Placed()) == [Cancelled()]


def test_r15_a_cause_before_the_original_cancels_the_step():
    one = OneService(payments(optional=False))
    one.send(Rejected(reason="no"))
    assert one.send(Placed(), "placed") == []
    assert one.calls == []
    assert one.told("skipped") == ["capture"]
    assert one.memory.fences["capture", "", "placed"].status is Status.SKIPPED


def test_r15_a_parked_step_is_cancelled_too():
    one = OneService(payments())
    assert one.send(Placed(n=-1), "placed") == []
    assert one.told("parked") == ["capture"]
    assert one.send(Rejected(reason="no")) == [Refunded(n=None)]
    assert one.told("skipped") == ["capture"]
    assert one.memory.fences["capture", "", "placed"].status is Status.SKIPPED


def test_r16_a_cancelled_step_is_undone_with_none_and_its_key_made_unusable():
    one = OneService(payments())
    assert one.send(Rejected(reason="no"), "rejected") == []
    [refunded] = one.deliver(one.envelope(Placed(n=3), "placed"))
    key = emitted_id(SAGA_ID, "payments.capture", "", "placed", "effect")
    assert refunded.event == Refunded(n=None)
    assert refunded.compensates_id == key
    assert one.calls[-1].undoes_key == key
    assert one.calls[-1].events[2].event == Placed(n=3), "further parameters give the undone step's causes"
    assert one.send(Lost(reason="again")) == [], "one step is undone once, whatever the number of causes"


def test_r17_a_cause_whose_step_never_comes_leaves_nothing_open():
    one = OneService(payments())
    assert one.send(Rejected(reason="no")) == []
    assert one.notes == []
    assert one.memory.fences == {}


@pytest.mark.parametrize("order", list(itertools.permutations(["placed", "rejected", "lost"])))
def test_r18_several_failures_are_one_abort(order):
    one = OneService(payments())
    events = {"placed": Placed(n=1), "rejected": Rejected(reason="a"), "lost": Lost(reason="b")}
    emitted = [each for name in order for each in one.send(events[name], name)]
    assert [type(each) for each in emitted].count(Refunded) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(["placed", "captured", "shipped", "lost", "rejected"])))
def test_r19_exactly_one_terminal_event_whatever_the_order(order):
    events = {
        "placed": Placed(),
        "captured": Captured(n=1),
        "shipped": Shipped(),
        "lost": Lost(reason="a"),
        "rejected": Rejected(reason="b"),
    }
    one = OneService(orders(), saga_type="order")
    emitted = [each for name in order for each in one.send(events[name], name)]
    terminals = [each for each in emitted if isinstance(each, Confirmed | Cancelled)]
    assert len(terminals) == 1
    assert len(one.ended) == 1
    assert bool(one.memory.flags & MemoryFlag.COMPLETED) == isinstance(terminals[0], Confirmed)


def test_r19_no_completion_after_a_failure_was_seen():
    one = OneService(orders(), saga_type="order")
    one.send(Placed())
    one.send(Captured(n=1))
    assert one.send(Lost(reason="no")) == [Cancelled()]
    assert one.send(Shipped()) == []
    assert one.told("dropped") == ["confirm"]


def test_r05_the_owner_waits_for_the_start():
    one = OneService(orders(), saga_type="order")
    assert one.send(Lost(reason="no")) == []
    assert one.ended == []
    assert one.send(Placed()) == [Cancelled()]
    assert [each.type for each in one.ended] == ["orders.Cancelled"]


def test_r10_at_least_once_re_emits_the_null_compensation_and_the_end():
    one = OneService(payments(), at_least_once=True)
    one.send(Rejected(reason="no"), "r")
    first = one.send(Placed(n=3), "placed")
    again = one.send(Placed(n=3), "placed")
    assert first == again == [Refunded(n=None)]
    owner = OneService(orders(), saga_type="order", at_least_once=True)
    owner.send(Placed())
    assert owner.send(Lost(reason="no"), "l") == [Cancelled()]
    assert owner.send(Lost(reason="no"), "l") == [Cancelled()]
    assert len(owner.ended) == 2


def test_r10_at_least_once_a_cause_re_emits_what_it_cancelled():
    service = Service("payments")

    @service.handles(retry=Retry(attempts=1))
    def capture(placed: Placed) -> Captured:
        raise RuntimeError("bank closed")

    @service.compensates
    def refund(cause: Rejected, captured: Captured | None) -> Refunded:
        return Refunded(n=captured.n if captured is not None else None)

    one = OneService(service, at_least_once=True)
    assert one.send(Placed(n=3)) == []
    assert one.told("parked") == ["capture"]
    first = one.send(Rejected(reason="no"), "r")
    assert one.told("skipped") == ["capture"]
    again = one.send(Rejected(reason="no"), "r")
    assert first == again == [Refunded(n=None)]
    assert one.told("skipped") == ["capture", "capture"]


def test_r21_reverse_order_is_expressed_by_types():
    service = Service("inventory")

    @service.handles
    def reserve(placed: Placed) -> Shipped:
        return Shipped()

    @service.compensates
    def release(cause: Refunded, reserved: Shipped) -> Cancelled:
        return Cancelled()

    one = OneService(service)
    one.send(Placed())
    assert one.send(Refunded(n=1)) == [Cancelled()]


def test_r22_a_compensation_that_fails_is_parked_and_keeps_its_trigger():
    service = Service("payments")

    @service.handles
    def capture(placed: Placed) -> Captured:
        return Captured(n=placed.n)

    @service.compensates(retry=Retry(attempts=1))
    def refund(cause: Rejected, captured: Captured) -> Refunded:
        raise RuntimeError("bank closed")

    one = OneService(service)
    [captured] = one.deliver(one.envelope(Placed(n=1)))
    assert one.send(Rejected(reason="no")) == []
    assert one.told("parked") == ["refund"]
    assert one.memory.fences["refund", "", captured.event_id].status is Status.PARKED
    assert all(each.body for each in one.memory.events.values())


def test_r18_one_original_is_undone_once_though_two_compensations_could():
    class Voided(Event, topic="payments"):
        pass

    service = Service("payments")

    @service.handles
    def capture(placed: Placed) -> Captured:
        return Captured(n=placed.n)

    @service.compensates
    def refund(cause: Rejected, captured: Captured) -> Refunded:
        return Refunded(n=captured.n)

    @service.compensates
    def void(cause: Lost | Rejected, captured: Captured) -> Voided:
        return Voided()

    one = OneService(service)
    one.send(Placed(n=1))
    assert one.send(Rejected(reason="no")) == [Refunded(n=1)]
    assert one.send(Lost(reason="gone")) == []

    other = OneService(service)
    other.send(Placed(n=1))
    assert other.send(Lost(reason="gone")) == [Voided()]
    assert other.send(Rejected(reason="no")) == []
