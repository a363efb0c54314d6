"""A clock that jumps back and forth: what is due fires once, and nothing is lost."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from choreo import Context, Event, Failure, Later, Retry, Saga, Service
from choreo.codec import Codec, Schemas
from choreo.event import Envelope
from choreo.memory import Status
from choreo.runtime import BatchResult, Engine, Resources
from choreo.service import declarations
from choreo.step import Rules
from choreo.transport import Record

HOUR = timedelta(hours=1)
SAGAS = 40


class Placed(Event, topic="orders"):
    n: int


class Answered(Event, topic="answers"):
    pass


class Late(Failure, topic="orders"):
    pass


class Reminded(Event, topic="orders"):
    pass


class Confirmed(Event, topic="orders"):
    pass


def service() -> Service:
    made = Service("orders")
    made.owns(Saga("order", starts=Placed, completes=Confirmed, fails=Late))
    made.publishes(Answered, by="a test")

    @made.deadline(Answered, within=timedelta(minutes=30))
    def overdue(placed: Placed) -> Late:
        return Late(reason="late")

    @made.handles
    def remind(placed: Placed) -> Later[Reminded]:
        return Later(Reminded(), after=timedelta(minutes=10), unless=Answered)

    @made.handles(retry=Retry(attempts=3, delay_s=60))
    def fail_twice(placed: Placed, ctx: Context) -> None:
        if ctx.attempt < 3:
            raise ConnectionError("now and then")

    return made


class JumpingClock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@pytest.mark.parametrize("seed", range(8))
def test_r23_a_clock_that_jumps_an_hour_back_and_forth_loses_and_doubles_nothing(seed: int):
    chance = random.Random(seed)
    clock = JumpingClock()
    [declaration] = declarations(service())
    codec = Codec(declaration.event_types, Schemas(), consumes=declaration.consumes)
    engine = Engine(Rules(declaration, codec), Resources(()), clock=clock)
    engine.gain(0, {})
    emitted: Counter[str] = Counter()

    def process(*records: Record) -> BatchResult:
        work = asyncio.run(engine.process(records))
        if chance.random() < 0.2:
            engine.drop(work)  # A commit that failed: the same comes again.
            return process(*records)
        engine.merge(work)
        emitted.update(dict(each.headers)["ce_type"].decode() for each in work.outputs if each.topic == "orders")
        return work

    for n in range(SAGAS):
        event = Placed(n=n)
        kind = Placed.__choreo_type__
        envelope = Envelope(event, codec.encode(event), f"e{n}", kind, f"saga-{n}", "order", occurred_at=clock.now())
        outgoing = codec.outgoing(envelope)
        process(Record(outgoing.topic, 0, n, outgoing.key, outgoing.value, outgoing.headers, 0))
        clock.at += chance.choice([HOUR, -HOUR, timedelta(seconds=5), timedelta(0)])
    while engine.next_ms is not None:
        clock.at = max(clock.at, datetime.fromtimestamp(engine.next_ms / 1000, UTC)) + timedelta(milliseconds=1)
        process()
    assert emitted["orders.Late"] == SAGAS
    # One that was late before its reminder was due is reminded no more.
    assert emitted["orders.Reminded"] <= SAGAS
    for n in range(SAGAS):
        memory = engine.memory(f"saga-{n}")
        assert memory is not None
        assert (memory.waiting, memory.timers) == ({}, {})
        assert memory.fences["fail_twice", "", f"e{n}"].status is Status.DONE
