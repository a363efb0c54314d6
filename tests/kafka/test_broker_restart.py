"""Brokers that are killed in the middle of commits, one after another, and come back: nothing is lost and nothing doubled.

There are three, for a broker alone sometimes forgets: killed while it ends a transaction, it may call it committed after its
restart without ever marking it so in the partitions, and readers of committed records stand before it for ever.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from datetime import timedelta

import pytest

from choreo import Event, Failure, Publisher, Saga, Service, Settings, running
from choreo.errors import TransportError
from tests.brokers import KafkaCluster, NoKafka, wait_in_sync, without_kafka
from tests.effort import LONG
from tests.kafka.desk import Log, settings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(480), pytest.mark.xdist_group("brokers")]
KILLS = 2
AT_REST_S = 200.0
AWAY_S = 60.0 if LONG else 13.0
"""Longer than any session."""
DUE_S = 10.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    try:
        made = KafkaCluster(3)
    except NoKafka as error:
        without_kafka(f"a broker to kill needs Java: {error}")
    with made:
        yield made


async def test_killing_brokers_loses_and_doubles_nothing(cluster: KafkaCluster, prefix: str):
    class Placed(Event, topic=f"{prefix}orders"):
        order_id: str

    class Packed(Event, topic=f"{prefix}orders"):
        pass

    class Shipped(Event, topic=f"{prefix}orders"):
        pass

    orders = Service(f"{prefix}desk")
    orders.owns(Saga(f"{prefix}order", starts=Placed, completes=Shipped, key="order_id"))
    packing = Service(f"{prefix}packing")

    @packing.handles
    async def pack(placed: Placed) -> Packed:
        return Packed()

    @orders.handles
    async def ship(packed: Packed) -> Shipped:
        return Shipped()

    placed: set[str] = set()
    enough = asyncio.Event()
    # As in production: what a member of a group has to be quick about, it is given ten seconds for.
    chosen = settings(cluster.bootstrap_servers, prefix, publish_timeout_s=60, replication=3, kafka={})

    async def place() -> None:
        """Place orders in small batches; what was not confirmed is placed again, which is once."""
        async with Publisher(orders, settings=chosen) as publisher:
            for number in itertools.count():
                batch = [Placed(order_id=f"{number}-{each}") for each in range(20)]
                while batch:
                    with contextlib.suppress(TransportError):
                        placed.update(await publisher.publish_many_async(batch))
                        batch = []
                if enough.is_set():
                    return
                await asyncio.sleep(0.1)

    over = asyncio.Event()
    async with running(orders, packing, settings=chosen, create_topics=True):
        pass
    working = asyncio.create_task(supervised(orders, packing, chosen=chosen, over=over))
    placing = asyncio.create_task(place())
    await kill_in_turn(cluster, f"{prefix}orders")
    enough.set()
    await placing
    log = Log(cluster.bootstrap_servers, [f"{prefix}orders"])
    await log.until(lambda: {each.key for each in log.records if each.kind == "Shipped"} >= placed, AT_REST_S)
    await log.until_consumed(orders, packing)
    log.close()
    over.set()
    await working
    assert len(placed) > 100 * KILLS
    counted: dict[str, list[str]] = {}
    for each in log.records:
        counted.setdefault(each.key, []).append(each.kind)
    assert set(counted) == placed
    # A start whose acknowledgement was lost may stand twice; what services emit never does.
    assert all(sorted(set(kinds)) == ["Packed", "Placed", "Shipped"] for kinds in counted.values())
    assert all(kinds.count("Packed") == kinds.count("Shipped") == 1 for kinds in counted.values())


async def test_brokers_that_are_away_for_long_cost_that_time_and_nothing_else(cluster: KafkaCluster, prefix: str):
    class Placed(Event, topic=f"{prefix}orders"):
        order_id: str

    class Packed(Event, topic=f"{prefix}orders"):
        pass

    class Late(Failure, topic=f"{prefix}orders"):
        pass

    orders = Service(f"{prefix}desk")
    orders.owns(Saga(f"{prefix}order", starts=Placed, completes=Packed, fails=Late, key="order_id"))

    @orders.handles
    async def pack(placed: Placed) -> Packed | None:
        return None if placed.order_id == "late" else Packed()

    # It falls due while the brokers are away, and fires once they are back.
    @orders.deadline(Packed, within=timedelta(seconds=DUE_S))
    def overdue(placed: Placed) -> Late:
        return Late(reason="nobody packed")

    chosen = settings(cluster.bootstrap_servers, prefix, publish_timeout_s=150, replication=3, kafka={})
    over = asyncio.Event()
    async with running(orders, settings=chosen, create_topics=True):
        pass
    working = asyncio.create_task(supervised(orders, chosen=chosen, over=over))
    log = Log(cluster.bootstrap_servers, [f"{prefix}orders"])
    async with Publisher(orders, settings=chosen) as publisher:
        first = await publisher.publish_async(Placed(order_id="1"))
        late = await publisher.publish_async(Placed(order_id="late"))
        await log.until_kinds(first, "Packed")
        for each in cluster.brokers:
            each.kill()
        # Published while nobody answers: it waits in the client, and arrives.
        waiting = asyncio.create_task(publisher.publish_async(Placed(order_id="2")))
        await asyncio.sleep(AWAY_S)
        for each in cluster.brokers:
            each.start()
        second = await waiting
    await log.until(lambda: "Packed" in log.kinds(second) and "Late" in log.kinds(late), AT_REST_S)
    await log.until_consumed(orders)
    log.close()
    over.set()
    await working
    assert [set(log.kinds(each)) for each in (first, second, late)] == [
        {"Placed", "Packed"},
        {"Placed", "Packed"},
        {"Placed", "Late"},
    ]
    assert log.count("Packed") == 2
    assert log.count("Late") == 1


async def supervised(*services: Service, chosen: Settings, over: asyncio.Event) -> None:
    """Run services until told, and again whenever the brokers drove them out, as a supervisor does.

    A static member that heard nothing for its session's time-out is sometimes told that it was replaced, though nobody did.
    """
    while not over.is_set():
        with contextlib.suppress(TransportError):
            async with running(*services, settings=chosen) as live:
                told, ended = asyncio.create_task(over.wait()), asyncio.create_task(live.wait())
                await asyncio.wait({told, ended}, return_when=asyncio.FIRST_COMPLETED)
                told.cancel()
                live.stop()
                await ended


async def kill_in_turn(cluster: KafkaCluster, topic: str) -> None:
    """Kill the next broker whenever something has been shipped again, and start it after a while."""
    shipped = 0
    for kill in range(1, KILLS + 1):
        log = Log(cluster.bootstrap_servers, [topic])
        await log.until(lambda log=log, before=shipped: log.count("Shipped") > before + 100, AT_REST_S)
        shipped = log.count("Shipped")
        log.close()
        broker = cluster.brokers[kill % len(cluster.brokers)]
        broker.kill()
        await asyncio.sleep(0.3 * kill)
        broker.start()
        await asyncio.to_thread(wait_in_sync, cluster.bootstrap_servers)
