"""Branches, timers, retries and repair on a real broker: rules 12 and 22 to 28, with real time that is kept short."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from confluent_kafka import Producer

from choreo import Context, Event, Failure, Later, Publisher, Retry, Saga, Service, Settings, running
from choreo.event import emitted_id, uuid7
from choreo.records import COMMANDS, Command
from tests.kafka.desk import ENDS, JOURNAL, Log, settings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]
Logs = Callable[..., Log]


class Desk:
    """A saga with a step that fails as often as it is told to, a deadline, a Later and branches."""

    def __init__(self, prefix: str, *, deadline_s: float = 3600, later_s: float = 3600) -> None:  # noqa: C901 - a list.
        class Placed(Event, topic=f"{prefix}orders"):
            order_id: str
            parts: int = 0

        class Part(Event, topic=f"{prefix}parts"):
            n: int

        class Made(Event, topic=f"{prefix}parts"):
            n: int

        class Captured(Event, topic=f"{prefix}payments"):
            attempt: int = 0

        class Unknown(Failure, topic=f"{prefix}payments"):
            pass

        class Refunded(Event, topic=f"{prefix}payments"):
            known: bool

        class Noted(Event, topic=f"{prefix}payments"):
            n: int

        class Changed(Event, topic=f"{prefix}orders"):
            n: int

        class Stopped(Failure, topic=f"{prefix}orders"):
            pass

        class Reminded(Event, topic=f"{prefix}orders"):
            pass

        class Late(Failure, topic=f"{prefix}orders"):
            pass

        class Confirmed(Event, topic=f"{prefix}orders"):
            made: int = 0

        class Cancelled(Event, topic=f"{prefix}orders"):
            pass

        self.placed, self.changed, self.stopped = Placed, Changed, Stopped
        self.captured, self.unknown = Captured, Unknown
        self.topics = ("orders", "parts", "payments")
        self.failures = 0
        self.refund_failures = 0
        self.attempts: list[str] = []
        self.deadline_s, self.later_s = deadline_s, later_s

        self.orders = orders = Service(f"{prefix}desk")
        orders.owns(Saga(f"{prefix}order", starts=Placed, completes=Confirmed, fails=Cancelled, key="order_id"))
        orders.publishes(Changed, Stopped, by="a test")

        @orders.handles
        def split(placed: Placed) -> list[Part] | None:
            return [Part(n=n) for n in range(placed.parts)] or None

        @orders.handles
        def gather(made: list[Made]) -> Confirmed:
            return Confirmed(made=len(made))

        @orders.handles
        def confirm(captured: Captured) -> Confirmed:
            return Confirmed()

        @orders.handles
        def cancel(cause: Late | Unknown | Stopped, placed: Placed) -> Cancelled | None:
            return None if placed.parts else Cancelled()

        @orders.deadline(Confirmed | Captured, within=lambda _: timedelta(seconds=self.deadline_s))
        def overdue(placed: Placed) -> Late:
            return Late(reason="too long")

        @orders.handles
        def remind(placed: Placed) -> Later[Reminded]:
            return Later(Reminded(), after=timedelta(seconds=self.later_s), unless=Captured)

        self.payments = payments = Service(f"{prefix}till")

        @payments.handles(retry=Retry(attempts=4, delay_s=0.05, delay_s_max=0.2))
        def capture(placed: Placed, ctx: Context) -> Captured | None:
            if placed.parts:
                return None
            self.attempts.append(f"{placed.order_id}:{ctx.attempt}")
            if self.failures:
                self.failures -= 1
                raise ConnectionError("bank away")
            return Captured(attempt=ctx.attempt)

        @payments.compensates(retry=Retry(attempts=2, delay_s=0.05))
        def refund(cause: Unknown | Stopped, captured: Captured | None) -> Refunded:
            if self.refund_failures:
                self.refund_failures -= 1
                raise ConnectionError("bank closed")
            return Refunded(known=captured is not None)

        @payments.handles
        def note(changed: Changed) -> Noted:
            return Noted(n=changed.n)

        self.factory = factory = Service(f"{prefix}factory")

        @factory.handles
        def make(part: Part) -> Made:
            return Made(n=part.n)

    @property
    def everyone(self) -> tuple[Service, ...]:
        return self.orders, self.payments, self.factory

    def with_otherwise(self) -> "Desk":
        unknown, placed = self.unknown, self.placed
        capture = next(each.function for each in self.payments.written.handlers if each.function.__name__ == "capture")

        def gave_up(order: Any, error: Exception) -> Any:
            return unknown(reason=str(error))

        gave_up.__annotations__ |= {"order": placed, "return": unknown}
        self.payments.otherwise(capture)(gave_up)
        return self


def give(kafka: str, *commands: Command) -> None:
    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random"})
    for each in commands:
        producer.produce(COMMANDS, key=each.saga_id, value=each.to_bytes())
    assert producer.flush(30) == 0


def command(
    desk: Desk, saga_id: str, what: Literal["retry", "resolve"], handler: str, trigger: str, **more: Any
) -> Command:
    return Command(
        command_id=uuid7(),
        command=what,
        saga_id=saga_id,
        service=desk.payments.name,
        handler=handler,
        trigger=trigger,
        actor="ana",
        reason="a test",
        at=datetime.now(UTC),
        **more,
    )


async def place(desk: Desk, chosen: Settings, order_id: str = "1", parts: int = 0) -> str:
    async with Publisher(desk.orders, settings=chosen) as publisher:
        return await publisher.publish_async(desk.placed(order_id=order_id, parts=parts))


async def tell(desk: Desk, chosen: Settings, saga_id: str, event: Event) -> None:
    async with Publisher(desk.orders, settings=chosen) as publisher:
        await publisher.publish_async(event, saga_id=saga_id)


@pytest.fixture(params=["exactly_once", "at_least_once"])
def chosen(request: pytest.FixtureRequest, kafka: str, prefix: str) -> Settings:
    return settings(kafka, prefix, delivery=request.param)


async def test_r12_branches_open_and_are_gathered(chosen: Settings, prefix: str, log: Logs):
    desk = Desk(prefix)
    async with running(*desk.everyone, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        seen = log(*desk.topics)
        saga_id = await place(desk, chosen, parts=5)
        await seen.until_kinds(saga_id, "Confirmed")
        await seen.until_consumed(*desk.everyone)
    assert seen.kinds(saga_id) == sorted(["Placed", *["Part"] * 5, *["Made"] * 5, "Confirmed"])
    made = [each.headers["ce_branch"] for each in seen.of(saga_id) if each.kind == "Made"]
    assert sorted(each.rpartition(":")[2] for each in made) == ["0.5", "1.5", "2.5", "3.5", "4.5"]
    [done] = [each for each in seen.of(saga_id) if each.kind == "Confirmed"]
    assert "ce_branch" not in done.headers
    key = made[0].split("/")[1].partition(":")[0]
    assert done.headers["ce_id"] == emitted_id(saga_id, f"{desk.orders.name}.gather", "", key, 0)


async def test_r26_a_step_is_retried_in_order_and_others_go_on(chosen: Settings, prefix: str, log: Logs):
    desk = Desk(prefix)
    desk.failures = 3
    async with running(*desk.everyone, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        seen = log(*desk.topics)
        saga_id = await place(desk, chosen)
        for n in range(3):
            await tell(desk, chosen, saga_id, desk.changed(n=n))
        await seen.until(lambda: seen.kinds(saga_id).count("Noted") == 3)
        await seen.until_consumed(*desk.everyone)
    assert desk.attempts == ["1:1", "1:2", "1:3", "1:4"]
    ours = [each.kind for each in seen.of(saga_id) if each.topic.endswith("payments")]
    assert ours == ["Captured", "Noted", "Noted", "Noted"]
    assert seen.notes(saga_id).count("retried") == 3


async def test_r27_and_r16_an_otherwise_ends_the_step_and_what_may_have_happened_is_undone(
    chosen: Settings, prefix: str, log: Logs
):
    desk = Desk(prefix).with_otherwise()
    desk.failures = 100
    async with running(*desk.everyone, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        seen = log(*desk.topics)
        saga_id = await place(desk, chosen)
        await seen.until_kinds(saga_id, "Refunded", "Cancelled")
        await seen.until_consumed(*desk.everyone)
    assert seen.kinds(saga_id) == ["Cancelled", "Placed", "Refunded", "Unknown"]
    assert len(desk.attempts) == 4


async def test_r23_a_deadline_fires_once_and_r24_a_later_comes_when_it_is_due(chosen: Settings, prefix: str, log: Logs):
    desk = Desk(prefix, deadline_s=1.2, later_s=0.3)
    desk.failures = 100
    async with running(desk.orders, desk.factory, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        seen = log(*desk.topics[:2])
        saga_id = await place(desk, chosen)
        await seen.until_kinds(saga_id, "Reminded", "Late", "Cancelled")
        await seen.until_consumed(desk.orders, desk.factory)
    assert seen.kinds(saga_id) == ["Cancelled", "Late", "Placed", "Reminded"]


async def test_r23_timers_survive_a_restart_and_a_backlog_wins(kafka: str, prefix: str, log: Logs):
    desk = Desk(prefix, deadline_s=8.0)
    chosen = settings(kafka, prefix)
    async with running(*desk.everyone, settings=chosen, create_topics=True):
        pass
    async with running(desk.orders, settings=chosen) as live:
        await live.wait_ready()
        seen = log(*desk.topics)
        answered, unanswered = await place(desk, chosen, "1"), await place(desk, chosen, "2")
        due = datetime.now(UTC) + timedelta(seconds=desk.deadline_s)
        await seen.until_consumed(desk.orders)
    # The owner is down when one of them is paid, and until both deadlines are over.
    paying = Service(desk.payments.name)
    placed, captured = desk.placed, desk.captured

    def capture(order: Any) -> Any:
        return captured() if order.order_id == "1" else None

    capture.__annotations__ |= {"order": placed, "return": captured | None}
    paying.handles(capture)
    async with running(paying, settings=chosen) as live:
        await live.wait_ready()
        await seen.until_kinds(answered, "Captured")
        # A deadline in real time has to pass in real time.
        await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
    async with running(desk.orders, settings=chosen) as live:
        await live.wait_ready()
        await seen.until_kinds(unanswered, "Late", "Cancelled")
        await seen.until_kinds(answered, "Confirmed")
        await seen.until_consumed(desk.orders)
    assert "Late" not in seen.kinds(answered)
    assert seen.kinds(unanswered) == ["Cancelled", "Late", "Placed"]


async def test_r22_and_r28_a_stuck_compensation_is_mended_by_hand_once(
    chosen: Settings, kafka: str, prefix: str, log: Logs
):
    desk = Desk(prefix)
    desk.refund_failures = 2
    async with running(desk.payments, settings=chosen, create_topics=True) as live:
        async with running(desk.orders, settings=chosen, create_topics=True):
            pass
        await live.wait_ready()
        seen = log("orders", "payments")
        saga_id = await place(desk, chosen)
        await seen.until_kinds(saga_id, "Captured")
        await tell(desk, chosen, saga_id, desk.stopped(reason="stop"))
        await seen.until(lambda: "parked" in seen.notes(saga_id))
        [parked] = [each.note for each in seen.of(saga_id, JOURNAL) if each.note["note"] == "parked"]
        assert parked["handler"] == "refund"
        assert "Refunded" not in seen.kinds(saga_id)
        asked = command(desk, saga_id, "retry", "refund", parked["trigger"])
        give(kafka, asked, asked)
        await seen.until_kinds(saga_id, "Refunded")
        await seen.until(lambda: "refused" in seen.notes(saga_id))
        await seen.until_consumed(desk.payments)
    assert seen.kinds(saga_id).count("Refunded") == 1
    assert seen.notes(saga_id) == ["parked", "refused", "resumed", "retried"]


async def test_r28_two_operators_repair_one_step_and_one_of_them_wins(
    chosen: Settings, kafka: str, prefix: str, log: Logs
):
    desk = Desk(prefix)
    desk.failures = 4
    async with running(*desk.everyone, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        seen = log(*desk.topics)
        saga_id = await place(desk, chosen)
        await seen.until(lambda: "parked" in seen.notes(saga_id))
        [parked] = [each.note for each in seen.of(saga_id, JOURNAL) if each.note["note"] == "parked"]
        told = {"event_type": desk.captured.__choreo_type__, "payload": {"attempt": 77}}
        retry = command(desk, saga_id, "retry", "capture", parked["trigger"])
        resolve = command(desk, saga_id, "resolve", "capture", parked["trigger"], **told)
        give(kafka, retry, resolve)
        await seen.until_kinds(saga_id, "Confirmed")
        await seen.until(lambda: "refused" in seen.notes(saga_id))
        await seen.until_consumed(*desk.everyone)
    assert seen.kinds(saga_id) == ["Captured", "Confirmed", "Placed"]
    assert seen.notes(saga_id).count("resumed") + seen.notes(saga_id).count("resolved") == 1


async def test_r25_and_r26_one_failing_saga_holds_up_nobody(kafka: str, prefix: str, log: Logs):
    desk = Desk(prefix)
    chosen = settings(kafka, prefix)
    poison = Service(desk.payments.name)
    placed, captured = desk.placed, desk.captured

    def capture(order: Any) -> Any:
        if order.order_id == "poison":
            raise ConnectionError("never")
        return captured()

    capture.__annotations__ |= {"order": placed, "return": captured}
    poison.handles(retry=Retry(attempts=1000, delay_s=60, delay_s_max=60))(capture)
    async with running(desk.orders, poison, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        seen = log("orders", "payments")
        bad = await place(desk, chosen, "poison")
        good = [await place(desk, chosen, str(n)) for n in range(20)]
        await seen.until(lambda: all("Confirmed" in seen.kinds(each) for each in good))
        await seen.until(lambda: "retried" in seen.notes(bad))
    assert seen.kinds(bad) == ["Placed"]
    assert {each.key for each in seen.records if each.topic == ENDS} >= set(good)
