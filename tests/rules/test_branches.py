"""Fan-out, fan-in and everything in between. Rules 7, 12 and 14 in branches."""

from datetime import timedelta

import pytest

from choreo import Event, Failure, Retry, Saga, Service, Settings
from choreo.event import emitted_id
from choreo.scope import covers, fork, opened
from choreo.testing import Scenario
from tests.effort import part

DELIVERIES = ["exactly_once", "at_least_once"]


class Placed(Event, topic="checkout"):
    order_id: str = "1"
    sellers: int = 3
    parcels: int = 0
    bad: int = -1


class Completed(Event, topic="checkout"):
    order: list[int]


class Empty(Event, topic="checkout"):
    pass


class Failed(Event, topic="checkout"):
    pass


class Split(Event, topic="sellers"):
    n: int
    parcels: int = 0
    bad: bool = False


class Packed(Event, topic="sellers"):
    n: int


class Unpacked(Event, topic="sellers"):
    n: int


class Refused(Failure, topic="sellers"):
    n: int


class Parcel(Event, topic="parcels"):
    seller: int
    n: int


class Sent(Event, topic="parcels"):
    seller: int
    n: int


class SellerDone(Event, topic="parcels"):
    n: int


@pytest.fixture(params=DELIVERIES)
def settings(request: pytest.FixtureRequest) -> Settings:
    return Settings.model_construct(delivery=request.param)


def checkout() -> Service:
    service = Service("checkout")
    service.owns(Saga("checkout", starts=Placed, completes=Completed | Empty, fails=Failed, key="order_id"))

    @service.handles
    def split(placed: Placed) -> list[Split] | Empty:
        if not placed.sellers:
            return Empty()
        return [Split(n=n, parcels=placed.parcels, bad=n == placed.bad) for n in range(placed.sellers)]

    @service.handles
    def complete(packed: list[Packed], placed: Placed) -> Completed:
        return Completed(order=[each.n for each in packed])

    @service.handles
    def fail(refused: Refused) -> Failed:
        return Failed()

    return service


def sellers() -> Service:
    service = Service("sellers")

    @service.handles
    def pack(split: Split) -> Packed | Refused:
        return Refused(n=split.n, reason="sold out") if split.bad else Packed(n=split.n)

    @service.compensates
    def unpack(cause: Refused, packed: Packed | None, split: Split) -> Unpacked:
        return Unpacked(n=split.n)

    return service


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_r12_a_list_opens_branches_and_a_list_parameter_gathers_them(settings: Settings, count: int):
    with Scenario(checkout(), sellers(), settings=settings) as s:
        saga = s.publish(Placed(sellers=count))
        s.settle()
        assert saga.event(Completed).order == list(range(count))
        key = emitted_id(saga.saga_id, "checkout.split", "", saga.events[0].event_id, "effect")
        branches = [each.branch for each in saga.events if isinstance(each.event, Split)]
        assert branches == [f"/{key[:8]}:{n}.{count}" for n in range(count)]
        done = saga.events[-1]
        assert done.branch == ""
        assert len(done.causes) == count + 1
        # The trigger of a fan-in is its fan-out's key.
        assert done.event_id == emitted_id(saga.saga_id, "checkout.complete", "", key[:8], 0)


@pytest.mark.parametrize("seed", range(part(8, of=20)))
def test_r12_whatever_the_order_it_runs_once(seed: int):
    with Scenario(checkout(), sellers(), seed=seed) as s:
        sagas = [s.publish(Placed(order_id=str(n), sellers=5)) for n in range(3)]
        s.settle()
        for saga in sagas:
            assert saga.emitted.count(Completed) == 1
            assert saga.event(Completed).order == [0, 1, 2, 3, 4]


def test_r12_an_empty_list_says_what_to_return_instead():
    service = Service("checkout")
    service.owns(Saga("checkout", starts=Placed, completes=Completed, fails=Failed, key="order_id"))

    @service.handles
    def split(placed: Placed) -> list[Split]:
        return []

    with Scenario(service, park=True) as s:
        saga = s.publish(Placed())
        s.settle()
        [step] = saga.steps
        assert step.status == "parked"
        assert "empty list" in step.error
        assert "return None" in step.error


def test_r12_a_list_may_stand_beside_events_that_stay_outside(settings: Settings):
    service = Service("checkout")
    service.owns(Saga("checkout", starts=Placed, completes=Completed, fails=Failed, key="order_id"))

    @service.handles
    def split(placed: Placed) -> tuple[Empty, list[Split]]:
        return Empty(), [Split(n=0), Split(n=1)]

    @service.handles
    def complete(packed: list[Packed], empty: Empty) -> Completed:
        return Completed(order=[each.n for each in packed])

    with Scenario(service, sellers(), settings=settings) as s:
        saga = s.publish(Placed())
        s.settle()
        outside = next(each for each in saga.events if isinstance(each.event, Empty))
        assert outside.branch == ""
        assert saga.event(Completed).order == [0, 1]


@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_r14_a_failure_in_one_branch_undoes_all_of_them_each_once(settings: Settings, bad: int, seed: int | None):
    with Scenario(checkout(), sellers(), settings=settings, seed=seed) as s:
        saga = s.publish(Placed(bad=bad))
        s.settle()
        undone = [each for each in saga.events if isinstance(each.event, Unpacked)]
        assert sorted(each.event.n for each in undone) == [n for n in range(3) if n != bad]
        assert all(fork(each.branch).path == each.event.n for each in undone)
        assert Completed not in saga.emitted
        assert saga.emitted.count(Failed) == 1


def test_r07_an_outer_event_joins_each_inner_branch(settings: Settings):
    joining = Service("joining")

    @joining.handles
    def both(split: Split, placed: Placed) -> Packed:
        return Packed(n=split.n + placed.sellers)

    with Scenario(checkout(), joining, settings=settings) as s:
        saga = s.publish(Placed(sellers=3))
        s.settle()
        assert saga.event(Completed).order == [3, 4, 5]


def nested() -> list[Service]:
    outer = Service("outer")
    outer.owns(Saga("nested", starts=Placed, completes=Completed, fails=Failed, key="order_id"))

    @outer.handles
    def split(placed: Placed) -> list[Split]:
        return [Split(n=n, parcels=placed.parcels + n) for n in range(placed.sellers)]

    @outer.handles
    def complete(done: list[SellerDone]) -> Completed:
        return Completed(order=[each.n for each in done])

    inner = Service("inner")

    @inner.handles
    def parcels(split: Split) -> list[Parcel]:
        return [Parcel(seller=split.n, n=n) for n in range(split.parcels)]

    @inner.handles
    def send(parcel: Parcel) -> Sent:
        return Sent(seller=parcel.seller, n=parcel.n)

    @inner.handles
    def gather(sent: list[Sent], split: Split) -> SellerDone:
        assert [each.n for each in sent] == list(range(split.parcels))
        assert {each.seller for each in sent} == {split.n}
        return SellerDone(n=split.n)

    return [outer, inner]


@pytest.mark.parametrize("seed", [None, *range(10)])
def test_r12_branches_nest(settings: Settings, seed: int | None):
    with Scenario(*nested(), settings=settings, seed=seed) as s:
        saga = s.publish(Placed(sellers=3, parcels=2))
        s.settle()
        assert saga.event(Completed).order == [0, 1, 2]
        assert saga.emitted.count(Sent) == 2 + 3 + 4
        assert saga.emitted.count(SellerDone) == 3


def test_r26_a_retry_holds_up_its_own_branch_alone(settings: Settings):
    failing = [True]
    slow = Service("sellers")

    @slow.handles(retry=Retry(attempts=50, delay_s=60, delay_s_max=60))
    def pack(split: Split) -> Packed:
        if split.n == 1 and failing[0]:
            raise ConnectionError("away")
        return Packed(n=split.n)

    with Scenario(checkout(), slow, settings=settings) as s:
        saga = s.publish(Placed())
        s.advance(timedelta(0))
        assert sorted(each.event.n for each in saga.events if isinstance(each.event, Packed)) == [0, 2]
        failing[0] = False
        s.settle()
        assert saga.event(Completed).order == [0, 1, 2]


def test_r23_a_deadline_in_a_branch_looks_at_its_own_branch(settings: Settings):
    class Late(Event, topic="sellers"):
        n: int

    watching = Service("watching")

    @watching.deadline(Packed, within=timedelta(hours=1))
    def late(split: Split) -> Late:
        return Late(n=split.n)

    lazy = Service("sellers")

    @lazy.handles
    def pack(split: Split) -> Packed | None:
        return None if split.n == 1 else Packed(n=split.n)

    with Scenario(checkout(), lazy, watching, settings=settings) as s:
        saga = s.publish(Placed())
        s.settle()
        assert [each.event.n for each in saga.events if isinstance(each.event, Late)] == [1]


def test_the_names_of_branches_can_be_taken_apart():
    inner = opened(opened("", "abcdef0123", 1, 3), "0123456789", 0, 2)
    assert inner == "/abcdef01:1.3/01234567:0.2"
    assert fork(inner) == ("/abcdef01:1.3", "01234567", 0, 2)
    assert fork("/abcdef01:1.3") == ("", "abcdef01", 1, 3)
    assert covers("/abcdef01:1.3", inner)
    assert not covers("/abcdef01:1.30", inner)
    assert [fork(each) for each in ("", "/", "x", "/abcdef01:3.3", "/abcdef01:1", "/ABCDEF01:0.1")] == [None] * 6


def test_an_event_that_begins_a_branch_is_refused_outside_a_list():
    service = Service("checkout")
    service.owns(Saga("checkout", starts=Placed, completes=Completed, fails=Failed, key="order_id"))

    @service.handles
    def split(placed: Placed) -> list[Split]:
        return Split(n=1)  # type: ignore[return-value]

    with Scenario(service, park=True) as s:
        saga = s.publish(Placed())
        s.settle()
        assert "outside a list" in saga.steps[0].error
