import asyncio
import json
import threading
from datetime import UTC, datetime

import pytest

from choreo.clock import ManualClock
from choreo.errors import BrokerUnavailable, BufferFull, ChoreoError, DeclarationError, SchemaError, TopicProblem
from choreo.publisher import Publisher
from choreo.settings import Settings
from tests.publisher.shop import Line, ManagerApproved, OrderPlaced, orders, trips

QUICK = Settings(publish_timeout_s=0.05)
ORDER = OrderPlaced(order_id="17")


def headers(line: Line) -> dict[str, str]:
    return {name: value.decode() for name, value in line.events()[0].headers}


def test_a_start_travels_as_the_wire_format_says():
    line = Line()
    clock = ManualClock(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    with Publisher(orders, settings=QUICK, transport=line, clock=clock) as publisher:
        saga_id = publisher.publish(ORDER)
    (sent,) = line.events()
    told = headers(line)
    assert (sent.topic, sent.key, sent.partition) == ("orders", saga_id.encode(), -1)
    assert sent.value is not None
    assert sent.value.startswith(b"\xc3\x01")
    assert (told["ce_type"], told["ce_sagaid"], told["ce_sagatype"]) == ("orders.OrderPlaced", saga_id, "order")
    assert (told["ce_source"], told["ce_subject"]) == ("/orders", "17")
    assert datetime.fromisoformat(told["ce_time"]) == clock.now()
    assert "ce_causationid" not in told


def test_opening_announces_the_manifests():
    line = Line()
    with Publisher(orders, trips, QUICK, transport=line):
        pass
    keys = {(each.key or b"").decode().partition("@")[0] for each in line.sent}
    assert keys == {"orders", "trips"}
    assert all(json.loads(each.value or b"")["service"] in keys for each in line.sent)


def test_a_missing_topic_is_told_with_the_command_that_makes_it():
    with pytest.raises(TopicProblem, match=r"approvals does not exist.*choreo topics apply"):
        Publisher(orders, QUICK, transport=Line(topics=["orders", "choreo.manifests"])).open()


def test_many_are_sent_with_one_wait_and_the_same_start_twice_is_one_saga():
    line = Line()
    with Publisher(orders, QUICK, transport=line) as publisher:
        ids = publisher.publish_many(OrderPlaced(order_id=key) for key in ("1", "2", "1"))
        assert publisher.publish_many([]) == []
    assert len(line.events()) == 3
    assert ids[0] == ids[2] != ids[1]


def test_a_mistake_in_one_sends_none():
    line = Line()
    with Publisher(orders, QUICK, transport=line) as publisher:
        with pytest.raises(DeclarationError):
            publisher.publish_many([ORDER, ManagerApproved(by="me")])
        with pytest.raises(DeclarationError, match="identifies one event"):
            publisher.publish_many([ORDER, ORDER], event_id="same")
    assert line.events() == []


def test_a_full_buffer_is_waited_for_within_bounds():
    line = Line()
    line.full_times = 2
    with Publisher(orders, Settings(publish_timeout_s=5), transport=line) as publisher:
        publisher.publish(ORDER)
    assert len(line.events()) == 1
    line.full_times = 1_000_000
    with (
        Publisher(orders, QUICK, transport=line) as publisher,
        pytest.raises(BufferFull, match=r"stayed full for 0.05 s"),
    ):
        publisher.publish(ORDER)


def test_silent_brokers_are_told_in_bounded_time():
    line = Line()
    line.silent = True
    with Publisher(orders, QUICK, transport=line) as publisher:
        with pytest.raises(BrokerUnavailable, match=r"silent for 0.05 s.*safe"):
            publisher.publish(ORDER)
        with pytest.raises(BrokerUnavailable, match="silent"):
            publisher.publish_many([ORDER, ORDER])


@pytest.mark.parametrize("error", [ValueError("refused"), BrokerUnavailable("refused")])
def test_what_the_brokers_refuse_is_told(error: Exception):
    line = Line()
    with Publisher(orders, QUICK, transport=line) as publisher:
        line.answers = lambda _: error
        with pytest.raises(BrokerUnavailable, match="refused"):
            publisher.publish(ORDER)


def test_what_is_too_large_is_refused_before_it_is_sent():
    line = Line()
    with (
        Publisher(orders, Settings(event_bytes_max=500), transport=line) as publisher,
        pytest.raises(SchemaError, match="event_bytes_max is 500"),
    ):
        publisher.publish(OrderPlaced(order_id="1", note="x" * 300))
    assert line.events() == []


def test_closing_tells_what_could_not_be_sent():
    line = Line()
    publisher = Publisher(orders, QUICK, transport=line).open()
    line.left = 3
    with pytest.raises(BrokerUnavailable, match="3 events"):
        publisher.close()
    assert line.closed == 1
    publisher.close()


def test_a_publisher_that_is_not_open_says_so():
    with pytest.raises(ChoreoError, match="not open"):
        Publisher(orders, QUICK, transport=Line()).publish(ORDER)


def test_arguments_are_services_and_settings():
    with pytest.raises(TypeError):
        Publisher(QUICK)
    with pytest.raises(TypeError):
        Publisher(orders, QUICK, settings=QUICK)
    with pytest.raises(TypeError):
        Publisher("orders")  # type: ignore[arg-type]


async def test_an_event_loop_awaits():
    line = Line()
    async with Publisher(orders, QUICK, transport=line) as publisher:
        saga_id = await publisher.publish_async(ORDER)
        assert await publisher.publish_many_async([ORDER, ORDER]) == [saga_id, saga_id]
        line.full_times = 2
        await publisher.publish_async(ORDER)
        line.silent = True
        with pytest.raises(BrokerUnavailable, match="silent"):
            await publisher.publish_async(ORDER)
    assert len(line.events()) == 5


async def test_acknowledgements_from_another_thread_wake_the_loop():
    line = Line()
    line.silent = True
    async with Publisher(orders, Settings(publish_timeout_s=30), transport=line) as publisher:
        callbacks: list[threading.Thread] = []
        sender = line.enqueue

        def enqueue(outgoing, done):
            sender(outgoing, lambda _: None)
            callbacks.append(threading.Thread(target=done, args=(None,)))
            callbacks[-1].start()

        line.enqueue = enqueue  # type: ignore[method-assign]
        async with asyncio.timeout(5):
            await publisher.publish_many_async([ORDER] * 3)
        for thread in callbacks:
            thread.join()


async def test_synchronous_calls_are_refused_where_a_loop_runs():
    publisher = Publisher(orders, QUICK, transport=Line())
    with pytest.raises(ChoreoError, match="async with"):
        publisher.open()
    async with publisher:
        with pytest.raises(ChoreoError, match="await publish_async"):
            publisher.publish(ORDER)
        with pytest.raises(ChoreoError, match="async with"):
            publisher.close()
