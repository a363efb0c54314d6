"""Resources and State: opened once a service or once a step, closed in reverse, and committed with the step."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from choreo import Context, Event, Retry, Service, State
from choreo.runtime import Resources
from choreo.service import declarations
from tests.runtime.engines import SAGA_ID, Bench


class Asked(Event, topic="questions"):
    n: int = 0


class Answered(Event, topic="answers"):
    n: int


class Pool:
    pass


class Session:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool


def test_resources_open_in_order_and_close_in_reverse():
    told: list[str] = []
    service = Service("service")

    @service.provides
    async def session(pool: Pool) -> AsyncIterator[Session]:
        told.append("session opens")
        yield Session(pool)
        told.append("session closes")

    @service.provides
    def pool() -> Iterator[Pool]:
        told.append("pool opens")
        yield Pool()
        told.append("pool closes")

    @service.handles
    def answer(asked: Asked, session: Session) -> Answered:
        told.append("answers")
        assert isinstance(session.pool, Pool)
        return Answered(n=1)

    bench = Bench(service)
    bench.process(bench.record(Asked()))
    assert told == ["pool opens", "session opens", "answers", "session closes", "pool closes"]


def test_a_resource_per_step_lives_as_long_as_an_attempt():
    told: list[str] = []
    service = Service("service")

    @service.provides(per="step")
    def session() -> Iterator[Session]:
        told.append("opens")
        yield Session(Pool())
        told.append("closes")

    @service.handles(retry=Retry(attempts=2, delay_s=0))
    def answer(asked: Asked, session: Session, ctx: Context) -> Answered:
        if ctx.attempt == 1:
            raise RuntimeError
        return Answered(n=ctx.attempt)

    bench = Bench(service)
    bench.process(bench.record(Asked()), bench.record(Asked(), "e2", "saga-2"))
    assert [each.topic for each in bench.process().outputs] == ["answers", "answers"]
    assert told.count("opens") == 4
    assert told.count("closes") == 2, "a failed attempt is thrown into the generator, which does not go on"


def test_a_replaced_resource_never_runs_its_provider():
    service = Service("service")

    @service.provides
    def pool() -> Pool:
        raise AssertionError("the real one must not be made")

    pool_ = Pool()
    resources = Resources(declarations(service)[0].providers, {Pool: pool_})
    asyncio.run(resources.open())
    assert resources.get(Pool) is pool_


def test_a_provider_that_yields_twice_is_refused():
    service = Service("service")

    @service.provides
    def pool() -> Iterator[Pool]:
        yield Pool()
        yield Pool()

    async def run() -> None:
        resources = Resources(declarations(service)[0].providers)
        await resources.open()
        await resources.close()

    with pytest.raises(RuntimeError, match="stop"):
        asyncio.run(run())


def test_state_is_shared_by_handlers_and_commits_with_their_outputs():
    class Tally(State):
        seen: int = 0

    service = Service("service")

    @service.handles(retry=Retry(attempts=1))
    def count(asked: Asked, tally: Tally) -> Answered:
        tally.seen += 1
        if asked.n < 0:
            raise RuntimeError
        return Answered(n=tally.seen)

    bench = Bench(service)
    bench.process(bench.record(Asked(), "a"))
    bench.process(bench.record(Asked(n=-1), "b"))
    bench.process(bench.record(Asked(), "c"), merge=False)
    bench.process(bench.record(Asked(), "d"))
    memory = bench.engine.memory(SAGA_ID)
    assert memory is not None
    assert Tally.model_validate_json(memory.state).seen == 2


def test_r11_the_context_carries_the_same_key_on_every_attempt():
    keys: list[str] = []
    service = Service("service")

    @service.handles(retry=Retry(attempts=3))
    def answer(asked: Asked, ctx: Context) -> Answered:
        keys.append(ctx.idempotency_key)
        if len(keys) < 3:
            raise RuntimeError
        assert ctx.step == "service.answer"
        assert ctx.saga_id == SAGA_ID
        assert [each.event for each in ctx.causes] == [asked]
        return Answered(n=0)

    bench = Bench(service)
    record = bench.record(Asked())
    bench.engine.drop(bench.process(record, merge=False))
    keys_before = list(keys)
    keys.clear()
    bench.process(record)
    assert len(set(keys_before + keys)) == 1
