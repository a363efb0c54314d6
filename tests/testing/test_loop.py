"""What code under test is given by a scenario, and the loop and threads that it all runs on."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator

import pytest

from choreo import Event, Publisher, Retry, Saga, SagaState, Service
from choreo.errors import ChoreoError
from choreo.testing import Scenario
from choreo.tracker import AsyncTracker
from tests.testing.shop import (
    ALL,
    Gateway,
    InventoryReserved,
    OrderConfirmed,
    OrderPlaced,
    PaymentCaptured,
    ShipmentCreated,
    payments,
)

CONFIRMED = [OrderPlaced, InventoryReserved, PaymentCaptured, ShipmentCreated, OrderConfirmed]


def order(order_id="17", total=1):
    return OrderPlaced(order_id=order_id, total=total)


def test_code_under_test_publishes_and_waits():
    with Scenario(*ALL) as s:
        tracker, publisher = s.tracker, s.publisher
        saga_id = publisher.publish(order())
        assert tracker.wait(saga_id).state is SagaState.COMPLETED
        assert tracker.find("order-fulfilment", key="17") is not None
        assert tracker.lag().records == 0


def test_code_under_test_may_close_the_publisher():
    with Scenario(*ALL) as s:
        with s.publisher as publisher:
            publisher.publish(order("1"))
        saga = s.publish(order("2"))
        s.settle()
        assert saga.state is SagaState.COMPLETED
        assert isinstance(publisher, Publisher)


async def test_it_works_inside_a_running_loop():
    with Scenario(*ALL) as s:
        saga = s.publish(order())
        s.settle()
        assert saga.state is SagaState.COMPLETED
        saga_id = await s.publisher.publish_async(order("18"))
        s.settle()
        found = await AsyncTracker(s.tracker).wait(saga_id)
        assert found.state is SagaState.COMPLETED


@pytest.fixture
def opened() -> Iterator[Scenario]:
    with Scenario(*ALL) as s:
        s.publish(order("0"))
        yield s


async def test_it_may_be_opened_outside_and_used_inside_a_loop(opened):
    saga = opened.publish(order())
    opened.settle()
    assert saga.emitted == CONFIRMED


def test_handlers_run_on_the_threads_of_the_test_unless_there_is_a_loop():
    threads = []

    class Seen(Gateway):
        async def capture(self, total):
            threads.append(threading.current_thread())
            return True

    with Scenario(*ALL) as s:
        s.replace(payments, Gateway, Seen())
        s.publish(order())
        s.settle()
    assert threads == [threading.current_thread()]


def test_what_a_handler_leaves_running_ends_with_the_scenario():
    ended = []

    class Careless(Gateway):
        async def capture(self, total):
            async def forever():
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.append("task")

            self.task = asyncio.create_task(forever())
            await asyncio.sleep(0)
            return True

    with Scenario(*ALL) as s:
        s.replace(payments, Gateway, Careless())
        s.publish(order())
        s.settle()
        assert ended == []
    assert ended == ["task"]


def test_a_handler_cannot_drive_its_own_scenario():
    class Meddling(Gateway):
        async def capture(self, total):
            s.settle()
            return True

    with Scenario(*ALL) as s:
        s.replace(payments, Gateway, Meddling())
        s.publish(order())
        with pytest.raises(ChoreoError, match="cannot drive the scenario"):
            s.settle()


def test_resources_opened_on_the_loop_are_usable_on_it():
    class Row(Event, topic="rows"):
        number: int

    class Written(Event, topic="rows"):
        number: int

    rows = Service("rows")
    rows.owns(Saga("row", starts=Row, completes=Written))

    @rows.provides
    def database() -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(":memory:")
        yield connection
        connection.close()

    @rows.handles(retry=Retry(attempts=1))
    def write(row: Row, db: sqlite3.Connection) -> Written:
        return Written(number=db.execute("SELECT ?", [row.number]).fetchone()[0])

    with Scenario(rows) as s:
        saga = s.publish(Row(number=7))
        s.settle()
        assert saga.event(Written).number == 7


def test_what_a_provider_raises_comes_out_and_the_rest_is_closed():
    closed = []

    class Begun(Event, topic="begun"):
        number: int

    class Done(Event, topic="begun"):
        number: int

    first, second = Service("first"), Service("second")
    first.owns(Saga("two", starts=Begun, completes=Done))

    @first.provides
    def opened() -> Iterator[list]:
        yield []
        closed.append("first")

    @first.handles
    def one(begun: Begun, _opened: list) -> Done:
        return Done(number=begun.number)

    @second.provides
    def broken() -> dict:
        raise OSError("no such database")

    @second.handles
    def two(begun: Begun, _broken: dict) -> None:
        pass

    with Scenario(first, second) as s, pytest.raises(OSError, match="no such database"):
        s.publish(Begun(number=1))
    assert closed == ["first"]
