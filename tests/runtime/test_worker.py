"""The loop: the next batch is worked out while the last one is committed, and a commit that fails costs nothing."""

import asyncio
import random
from collections import Counter

import pytest

from choreo import Context, Event, Retry, Saga, Service, State
from choreo.clock import SystemClock
from choreo.codec import Codec, Schemas
from choreo.errors import Fenced
from choreo.event import Envelope
from choreo.memory import Memory
from choreo.records import COMMANDS, ENDS
from choreo.runtime import Engine, Resources, Worker
from choreo.service import declarations
from choreo.settings import Settings
from choreo.step import Rules
from choreo.testing import MemoryBroker
from choreo.testing.memory_transport import Reached
from choreo.topics import needed
from choreo.transport import Outgoing
from tests.effort import part

WAIT_S = 20.0
SAGAS = 12
EVENTS = 8


class Asked(Event, topic="asked"):
    n: int


class Counted(Event, topic="counted"):
    n: int
    count: int


class Tally(State):
    count: int = 0


def counting() -> Service:
    """A service whose output depends on all that came before in the same saga."""
    service = Service("counting")
    service.owns(Saga("count", starts=Asked, completes=Counted))

    @service.handles
    async def count(asked: Asked, tally: Tally) -> Counted | None:
        await asyncio.sleep(0)
        tally.count += 1
        return Counted(n=asked.n, count=tally.count) if asked.n == EVENTS - 1 else None

    return service


class Stage:
    """A worker on brokers in memory, with several events for each of some sagas."""

    def __init__(self, service: Service, delivery: str = "exactly_once") -> None:
        self.service = service
        self.delivery = delivery
        self.declaration = declarations(service)[0]
        self.broker = MemoryBroker()
        self.broker.create(needed([self.declaration], Settings.model_construct(partitions=1)))
        self.codec = Codec(self.declaration.event_types, Schemas(), consumes=self.declaration.consumes)
        for n in range(EVENTS):
            for saga in range(SAGAS):
                event = Asked(n=n)
                saga_id = f"saga-{saga}"
                envelope = Envelope(
                    event, self.codec.encode(event), f"{saga}-{n}", Asked.__choreo_type__, saga_id, saga_type="count"
                )
                self.broker.write([self.codec.outgoing(envelope)])

    def worker(self, batch_max: int, instance: str = "a") -> Worker:
        rules = Rules(self.declaration, self.codec, at_least_once=self.delivery == "at_least_once")
        engine = Engine(rules, Resources(()), clock=SystemClock())
        source = self.broker.source(
            group="counting",
            topics=sorted({*self.declaration.topics_in, ENDS, COMMANDS}),
            memory_topic="counting.memory",
            delivery=self.delivery,
            instance=instance,
        )
        return Worker("counting", engine, source, batch_max=batch_max)

    async def run(self, worker: Worker) -> None:
        """Run it until everything has been read."""
        running = asyncio.ensure_future(worker.run())
        async with asyncio.timeout(WAIT_S):
            while not running.done() and self.broker.group("counting").committed.get(("asked", 0), 0) < SAGAS * EVENTS:
                await asyncio.to_thread(self.change)
        worker.stop()
        await running

    def change(self) -> None:
        """Wait until something happens to the brokers."""
        with self.broker.changed:
            self.broker.changed.wait(0.05)

    def counts(self) -> Counter[int]:
        events = [
            self.codec.decode(Counted.__choreo_type__, each.value or b"") for each in self.broker.records("counted")
        ]
        return Counter(each.count for each in events if isinstance(each, Counted))


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("batch_max", [1, 3, 7, 1000])
async def test_every_saga_is_counted_through_whatever_the_batches(delivery: str, batch_max: int):
    stage = Stage(counting(), delivery)
    await stage.run(stage.worker(batch_max))
    assert stage.counts() == {EVENTS: SAGAS}


@pytest.mark.parametrize("seed", range(part(6, of=12)))
async def test_commits_that_fail_or_are_not_answered_cost_nothing(seed: int):
    stage = Stage(counting())
    chance = random.Random(seed)
    worker = stage.worker(chance.choice([2, 5, 16]))
    for _ in range(chance.randrange(1, 8)):
        if chance.random() < 0.5:
            stage.broker.abort_next_commit("counting")
        else:
            stage.broker.lose_commit_response("counting", Reached.OFFSETS)
    await stage.run(worker)
    assert stage.counts() == {EVENTS: SAGAS}
    held = {saga_id: Memory.decode(data) for saga_id, data in worker.engine.partitions[0].items()}
    kept = {saga_id: Memory.decode(data) for saga_id, data in stage.broker.restore("counting.memory", [0])[0].items()}
    assert {key: each.fences for key, each in held.items()} == {key: each.fences for key, each in kept.items()}


@pytest.mark.parametrize("seed", range(6))
async def test_a_process_that_dies_in_a_commit_is_followed_by_another(seed: int):
    stage = Stage(counting())
    chance = random.Random(seed)
    worker = stage.worker(5)
    for _ in range(chance.randrange(4)):
        stage.broker.abort_next_commit("counting")
    stage.broker.crash_next_commit("counting", chance.choice(list(Reached)))
    with pytest.raises(Fenced):
        await stage.run(worker)
    await stage.run(stage.worker(5, "b"))
    assert stage.counts() == {EVENTS: SAGAS}


async def test_retries_and_timers_survive_commits_that_fail():
    service = Service("counting")
    service.owns(Saga("count", starts=Asked, completes=Counted))

    @service.handles(retry=Retry(attempts=4, delay_s=0.01))
    async def count(asked: Asked, tally: Tally, ctx: Context) -> Counted | None:
        if ctx.attempt < 3:
            raise ConnectionError("now and then")
        tally.count += 1
        return Counted(n=asked.n, count=tally.count) if asked.n == EVENTS - 1 else None

    stage = Stage(service)
    for _ in range(6):
        stage.broker.abort_next_commit("counting")
    worker = stage.worker(4)
    running = asyncio.ensure_future(worker.run())
    async with asyncio.timeout(WAIT_S):
        while sum(stage.counts().values()) < SAGAS:
            await asyncio.to_thread(stage.change)
    worker.stop()
    await running
    assert stage.counts() == {EVENTS: SAGAS}


async def test_a_batch_that_was_merged_and_not_committed_is_taken_back_whole():
    stage = Stage(counting())
    engine = stage.worker(4).engine
    engine.gain(0, {})
    records = stage.broker.records("asked")[:10]
    first = await engine.process(records)
    engine.merge(first)
    held = dict(engine.partitions[0])
    second = await engine.process(records[:3])
    assert second.changelog == [], "they are known by now"
    engine.undo(first)
    assert held
    assert engine.partitions[0] == {}
    again = await engine.process(records)
    assert [Outgoing(*each[:3], []) for each in again.changelog] == [
        Outgoing(*each[:3], []) for each in first.changelog
    ]
