"""Handlers in the wild: slow, blocking, never returning; and what else real life does to them."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from datetime import timedelta
from functools import partial

import pytest

from choreo import Context, Event, Retry, Saga, Service, State
from choreo.launch import running
from choreo.runtime import Worker
from choreo.settings import Settings
from choreo.testing import MemoryBroker, Scenario

WAIT_S = 20.0


class Asked(Event, topic="asked"):
    n: str = "1"


class Answered(Event, topic="answered"):
    who: str = ""


class Memory(State):
    count: int = 0


def owner() -> Service:
    service = Service("owner")
    service.owns(Saga("question", starts=Asked, completes=Answered, key="n"))
    return service


def ask(s: Scenario) -> Answered:
    saga = s.publish(Asked())
    s.settle()
    return saga.event(Answered)


def test_timeout_s_ends_an_attempt_and_the_next_one_may_succeed():
    attempts: list[int] = []
    service = owner()

    @service.handles(timeout_s=0.01, retry=Retry(attempts=3, delay_s=1))
    async def answer(asked: Asked, ctx: Context) -> Answered:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            await asyncio.Event().wait()
        return Answered()

    with Scenario(service) as s:
        ask(s)
        assert attempts == [1, 2, 3]


def test_a_handler_that_never_returns_is_parked_with_what_it_exceeded():
    service = owner()

    @service.handles(timeout_s=0.01, retry=Retry(attempts=2, delay_s=1))
    async def answer(asked: Asked) -> Answered:
        await asyncio.Event().wait()
        return Answered()

    with Scenario(service, park=True) as s:
        saga = s.publish(Asked())
        s.settle()
        [step] = saga.steps
        assert (step.status, step.attempts) == ("parked", 2)
        assert "owner.answer took longer than timeout_s=0.01" in step.error


def test_its_own_timeout_is_not_taken_for_ours():
    service = owner()

    @service.handles(timeout_s=30, retry=Retry(attempts=1))
    async def answer(asked: Asked) -> Answered:
        raise TimeoutError("the bank's")

    with Scenario(service, park=True) as s:
        saga = s.publish(Asked())
        s.settle()
        assert "the bank's" in saga.steps[0].error


def test_a_handler_that_cancels_itself_fails_and_nothing_else_does():
    service = owner()

    @service.handles(retry=Retry(attempts=1))
    async def answer(asked: Asked) -> Answered:
        raise asyncio.CancelledError

    with Scenario(service, park=True) as s:
        saga = s.publish(Asked())
        s.settle()
        assert "cancelled from within" in saga.steps[0].error


CALLER: ContextVar[str] = ContextVar("caller", default="")


def test_thread_moves_a_blocking_handler_off_the_loop():
    service = owner()

    @service.handles(thread=True)
    def answer(asked: Asked, ctx: Context, memory: Memory) -> Answered:
        memory.count += 1
        return Answered(who=threading.current_thread().name)

    with Scenario(service) as s:
        assert ask(s).who.startswith("handlers-owner")


def test_thread_takes_generators_and_passes_errors_on():
    service = owner()

    @service.handles(thread=True, retry=Retry(attempts=2, delay_s=1))
    def answer(asked: Asked, ctx: Context) -> Iterator[Answered]:
        if ctx.attempt == 1:
            raise ConnectionError("once")
        yield Answered(who=threading.current_thread().name)

    with Scenario(service) as s:
        assert ask(s).who.startswith("handlers-owner")


def test_a_thread_that_takes_too_long_is_left_behind(monkeypatch: pytest.MonkeyPatch):
    release = threading.Event()
    limits_s: list[float | None] = []
    expire: Callable[[], object]
    service = owner()

    def timeout(delay_s: float | None) -> asyncio.Timeout:
        """Return a limit that is over when the first attempt says so, whatever the load of the machine."""
        nonlocal expire
        limits_s.append(delay_s)
        limit = asyncio.Timeout(None)
        expire = partial(asyncio.get_running_loop().call_soon_threadsafe, limit.reschedule, 0)
        return limit

    monkeypatch.setattr(asyncio, "timeout", timeout)

    @service.handles(thread=True, timeout_s=30, retry=Retry(attempts=2, delay_s=1))
    def answer(asked: Asked, ctx: Context) -> Answered:
        if ctx.attempt == 1:
            expire()
            release.wait(WAIT_S)
        return Answered(who=str(ctx.attempt))

    with Scenario(service) as s:
        assert ask(s).who == "2"
        assert not release.is_set()
        assert limits_s == [30, 30]
        release.set()


class Live:
    """A service that really runs, on brokers in memory, with a publisher's end of it."""

    def __init__(self, service: Service, **settings: object) -> None:
        self.service = service
        self.settings = Settings.model_construct(partitions=1, instance="test", **settings)
        self.broker = MemoryBroker()

    async def __aenter__(self) -> Worker:
        self._running = running(self.service, settings=self.settings, transport=self.broker, create_topics=True)
        live = await self._running.__aenter__()
        await live.wait_ready()
        return live.workers[0]

    async def __aexit__(self, *exc: object) -> None:
        await self._running.__aexit__(None, None, None)

    def ask(self, *ns: str) -> None:
        from choreo import Publisher

        def publish() -> None:
            with Publisher(self.service, settings=self.settings, transport=self.broker) as publisher:
                publisher.publish_many([Asked(n=n) for n in ns])

        with ThreadPoolExecutor(1) as outside:
            outside.submit(publish).result()

    def answers(self) -> int:
        return len(self.broker.records("answered"))

    async def until(self, answers: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while self.answers() < answers:
                await asyncio.to_thread(self._changed)

    def _changed(self) -> None:
        with self.broker.changed:
            self.broker.changed.wait(0.05)


async def test_one_that_blocks_the_loop_is_found_and_named(caplog: pytest.LogCaptureFixture):
    service = owner()

    @service.handles
    def answer(asked: Asked) -> Answered:
        # What a handler must not do; long enough for the watch to look twice.
        time.sleep(4)
        return Answered()

    live = Live(service)
    with caplog.at_level(logging.WARNING, "choreo"):
        async with live as worker:
            live.ask("1")
            await live.until(1)
            assert worker.engine.counts["blocked:answer"] == 1
    [told] = [each.getMessage() for each in caplog.records if "has blocked the event loop" in each.getMessage()]
    assert told.startswith("owner.answer (tests/rules/test_wild.py:")
    assert "thread=True" in told


async def test_async_handlers_of_different_sagas_overlap_up_to_the_limit():
    running_now, most = 0, 0
    service = owner()

    @service.handles
    async def answer(asked: Asked) -> Answered:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(0.01)
        running_now -= 1
        return Answered()

    live = Live(service, concurrency_max=8)
    async with live:
        live.ask(*(str(n) for n in range(40)))
        await live.until(40)
    assert most == 8


async def test_draining_cancels_what_takes_too_long_and_its_batch_comes_again():
    began = asyncio.Event()
    ended: list[str] = []
    service = owner()

    @service.handles
    async def answer(asked: Asked) -> Answered:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return Answered()

    live = Live(service, drain_timeout_s=0.05)
    async with live:
        live.ask("1")
        await asyncio.wait_for(began.wait(), WAIT_S)
    assert ended == ["cancelled"]
    assert live.answers() == 0

    patient = owner()

    @patient.handles(name="answer")
    async def answer_at_once(asked: Asked) -> Answered:
        return Answered()

    again = Live(patient)
    again.broker = live.broker
    async with again:
        await again.until(1)


async def test_draining_lets_what_is_in_flight_finish_and_commit():
    began = asyncio.Event()
    service = owner()

    @service.handles
    async def answer(asked: Asked) -> Answered:
        began.set()
        await asyncio.sleep(0.2)
        return Answered()

    live = Live(service)
    async with live:
        live.ask("1")
        await asyncio.wait_for(began.wait(), WAIT_S)
    assert live.answers() == 1


async def test_timers_wake_a_service_that_has_nothing_to_read():
    service = owner()

    @service.deadline(Answered, within=timedelta(seconds=0.3))
    def late(asked: Asked) -> Answered:
        return Answered(who="late")

    live = Live(service)
    async with live:
        live.ask("1")
        await live.until(1)


async def test_generators_yield_their_events():
    service = owner()

    @service.handles
    async def answer(asked: Asked) -> AsyncIterator[Answered]:
        yield Answered(who="a generator")

    with Scenario(service) as s:
        assert ask(s).who == "a generator"
