"""The engine: what a batch comes to, and that nothing takes effect before its commit."""

import asyncio
import json
from datetime import timedelta

import pytest

from choreo import Event, Failure, Retry, Saga, Service
from choreo.memory import Memory
from choreo.records import end
from tests.runtime.engines import SAGA_ID, Bench, header, topics


class Placed(Event, topic="orders"):
    n: int = 0


class Done(Event, topic="orders"):
    n: int = 0


class Paid(Event, topic="payments"):
    n: int = 0


class Refused(Failure, topic="payments"):
    pass


def paying() -> Service:
    service = Service("payments")

    @service.handles
    async def pay(placed: Placed) -> Paid:
        return Paid(n=placed.n)

    return service


def test_r10_outputs_memory_and_offsets_come_as_one():
    bench = Bench(paying())
    work = bench.process(bench.record(Placed(n=3)), merge=False)
    assert topics(work.outputs) == ["payments"]
    assert topics(work.changelog) == ["payments.memory"]
    assert work.changelog[0].partition == 0
    assert work.offsets == {("orders", 0): 1}
    assert bench.engine.memory(SAGA_ID) is None, "nothing takes effect before the commit"


def test_r10_a_dropped_batch_comes_again_and_emits_the_same():
    bench = Bench(paying())
    record = bench.record(Placed())
    first = bench.process(record, merge=False)
    bench.engine.drop(first)
    again = bench.process(record)
    assert [header(each, "ce_id") for each in first.outputs] == [header(each, "ce_id") for each in again.outputs]
    assert bench.process(record).outputs == []


def test_a_gained_partition_brings_its_memory():
    bench = Bench(paying())
    record = bench.record(Placed())
    work = bench.process(record)
    bench.engine.lose(0)
    bench.engine.gain(0, {each.key.decode(): each.value for each in work.changelog})
    assert bench.process(record).outputs == []


def test_types_that_nobody_here_consumes_are_passed_over():
    service = paying()
    service.publishes(Done)
    bench = Bench(service)
    work = bench.process(bench.record(Done()))
    assert (work.outputs, work.changelog) == ([], [])
    assert work.offsets == {("orders", 0): 1}


def test_r26_retries_wait_as_the_policy_says_then_the_step_is_parked():
    attempts = []
    service = Service("payments")

    @service.handles(retry=Retry(attempts=3, delay_s=1))
    def pay(placed: Placed) -> Paid:
        attempts.append(placed)
        raise RuntimeError("no")

    bench = Bench(service)
    work = bench.process(bench.record(Placed()))
    waits = []
    while (due_ms := bench.engine.next_ms) is not None:
        assert [json.loads(each.value)["note"] for each in work.outputs] == ["retried"]
        waits.append(due_ms / 1000 - bench.clock.now().timestamp())
        assert bench.process().empty, "it is not due yet"
        bench.clock.advance(timedelta(seconds=waits[-1]))
        work = bench.process()
    assert len(attempts) == 3
    assert len(waits) == 2
    assert 0.75 <= waits[0] <= 1.001
    assert 1.5 <= waits[1] <= 2.001
    assert [json.loads(each.value)["note"] for each in work.outputs] == ["parked"]
    assert "RuntimeError" in json.loads(work.outputs[0].value)["error"]
    assert json.loads(work.outputs[0].value)["attempt"] == 3
    [error] = work.errors
    assert "payments.pay" in str(error)


@pytest.mark.parametrize("error", [SystemExit(3), KeyError("x")])
def test_an_error_that_is_never_retried_parks_at_once(error: BaseException):
    service = Service("payments")

    @service.handles(retry=Retry(never=(KeyError,)))
    def pay(placed: Placed) -> Paid:
        raise error

    bench = Bench(service)
    work = bench.process(bench.record(Placed()))
    assert [json.loads(each.value)["note"] for each in work.outputs] == ["parked"]
    assert bench.engine.next_ms is None


def test_sagas_are_awaited_side_by_side_and_each_in_order():
    running, most = 0, 0
    order: list[int] = []
    service = Service("payments")

    @service.handles
    async def pay(placed: Placed) -> Paid:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        order.append(placed.n)
        running -= 1
        return Paid(n=placed.n)

    bench = Bench(service, concurrency_max=4)
    records = [bench.record(Placed(n=n), f"e{n}", saga_id=f"saga-{n % 8}") for n in range(16)]
    work = bench.process(*records)
    assert most == 4
    assert all(order.index(n) < order.index(n + 8) for n in range(8))
    assert len(work.outputs) == 16


def test_r04_the_outputs_carry_the_sagas_key():
    bench = Bench(paying())
    [paid] = bench.process(bench.record(Placed())).outputs
    assert paid.key == SAGA_ID.encode()


def owning() -> Service:
    service = Service("orders")
    service.owns(Saga("order", starts=Placed, completes=Done, fails=Refused, key="n"))

    @service.handles
    def finish(paid: Paid) -> Done:
        return Done()

    return service


def test_r05_the_end_is_written_with_the_event_that_ends_the_saga():
    bench = Bench(owning())
    bench.process(bench.record(Placed(), saga_type="order"))
    work = bench.process(bench.record(Paid(), "paid", saga_type="order"))
    assert topics(work.outputs) == ["orders", "choreo.ends"]
    end = json.loads(work.outputs[1].value)
    assert (end["saga_id"], end["outcome"], end["saga_type"]) == (SAGA_ID, "completed", "order")


def test_r08_the_end_counts_for_its_owner_from_its_commit():
    bench = Bench(owning(), remember_for=timedelta(days=7))
    bench.process(bench.record(Placed(), saga_type="order"))
    work = bench.process(bench.record(Paid(), "paid", saga_type="order"))
    held = dict(bench.engine.partitions[0])
    bench.clock.advance(timedelta(hours=1))
    again = bench.process(bench.as_read(work.outputs[1]))
    assert (again.changelog, bench.engine.partitions[0]) == ([], held), "reading it back changes nothing"
    bench.clock.advance(timedelta(days=7) - timedelta(hours=1))
    bench.process(bench.record(Placed(), "another", saga_id="another", saga_type="order"))
    assert SAGA_ID not in bench.engine.partitions[0]


def end_of(bench: Bench, saga_id: str = SAGA_ID):
    envelope = bench.envelope(Done(), "end", saga_id, saga_type="order")
    return bench.as_read(end(envelope, "orders", completed=True, now=bench.clock.now()))


def test_r05_a_saga_is_forgotten_remember_for_after_its_end_was_read():
    from datetime import timedelta

    service = paying()
    service.publishes(Done)
    bench = Bench(service, remember_for=timedelta(days=7))
    bench.process(bench.record(Placed()))
    bench.process(end_of(bench))
    bench.clock.advance(timedelta(days=6, hours=23))
    assert bench.process().changelog == []
    bench.clock.advance(timedelta(hours=2))
    work = bench.process()
    assert [(each.key, each.value) for each in work.changelog] == [(SAGA_ID.encode(), None)]
    assert work.offsets, "offsets vouch for us, so that a zombie's tombstone is fenced"
    assert bench.engine.memory(SAGA_ID) is None


def test_r05_a_saga_without_an_end_is_never_forgotten():
    from datetime import timedelta

    bench = Bench(paying())
    bench.process(bench.record(Placed()))
    bench.clock.advance(timedelta(days=9999))
    assert bench.process().changelog == []


def test_r05_a_parked_step_keeps_its_saga():
    from datetime import timedelta

    service = Service("payments")

    @service.handles(retry=Retry(attempts=1))
    def pay(placed: Placed) -> Paid:
        raise RuntimeError

    bench = Bench(service)
    bench.process(bench.record(Placed()))
    bench.process(end_of(bench))
    bench.clock.advance(timedelta(days=30))
    assert bench.process().changelog == []
    assert bench.engine.memory(SAGA_ID) is not None


def test_r05_an_end_read_before_the_events_is_remembered_where_it_concerns():
    bench = Bench(paying(), concerns=lambda saga_type: saga_type == "order")
    assert len(bench.process(end_of(bench)).changelog) == 1
    stranger = Bench(paying(), concerns=lambda saga_type: False)
    assert stranger.process(end_of(stranger)).changelog == []
    beside_another = stranger.process(stranger.record(Paid(), "p"), end_of(stranger))
    assert beside_another.changelog == [], "what nobody here reads makes no saga known"


def test_r05_forgetting_that_was_not_committed_is_due_again():
    from datetime import timedelta

    bench = Bench(paying())
    bench.process(bench.record(Placed()))
    bench.process(end_of(bench))
    bench.clock.advance(timedelta(days=8))
    bench.engine.drop(bench.process(merge=False))
    assert len(bench.process().changelog) == 1


def test_the_same_batch_gives_the_same_bytes():
    first, second = Bench(owning()), Bench(owning())
    for bench in (first, second):
        bench.outputs = bench.process(
            bench.record(Placed(), saga_type="order"), bench.record(Paid(), "p", saga_type="order")
        )
    assert first.outputs.outputs == second.outputs.outputs
    assert first.outputs.changelog == second.outputs.changelog
    assert Memory.decode(first.outputs.changelog[0].value).terminal_id
