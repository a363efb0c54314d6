"""The rules that stand or fall with the broker, on a real one."""

import asyncio
import hashlib
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest

from choreo import Event, Failure, Publisher, Saga, Service, running
from choreo.errors import Fenced
from tests.kafka.desk import ENDS, JOURNAL, Log, settings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]
PARTITIONS = 6
Logs = Callable[..., Log]


def java_partition(key: bytes, partitions: int) -> int:
    """Murmur2 as Kafka's Java client computes it, written down from its source."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(key)) & mask
    whole = len(key) - len(key) % 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    if rest := key[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return ((h ^ (h >> 15)) & 0x7FFFFFFF) % partitions


def event_id(saga_id: str, step: str, trigger: str, index: int = 0) -> str:
    """The id of what a handler emits, from the wire format's text alone."""
    text = "".join(f"{part}\n" for part in (saga_id, step, "", trigger, str(index)))
    digest = bytearray(hashlib.blake2b(text.encode(), digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


class Shop:
    """Two services: an order is placed, stock is reserved, the card is charged; then it is shipped, or all is undone."""

    def __init__(self, prefix: str) -> None:
        class Placed(Event, topic=f"{prefix}orders"):
            order_id: str

        class Reserved(Event, topic=f"{prefix}stock"):
            order_id: str
            shelf: str = ""

        class Captured(Event, topic=f"{prefix}payments"):
            order_id: str
            cents: int = 0

        class Refunded(Event, topic=f"{prefix}payments"):
            cents: int

        class Refused(Failure, topic=f"{prefix}addresses"):
            pass

        class Confirmed(Event, topic=f"{prefix}orders"):
            pass

        class Failed(Failure, topic=f"{prefix}orders"):
            pass

        self.placed, self.reserved, self.captured, self.refunded = Placed, Reserved, Captured, Refunded
        self.refused, self.confirmed, self.failed = Refused, Confirmed, Failed
        self.events = (Reserved, Captured, Refused, Refunded)
        self.topics = ("orders", "stock", "payments", "addresses")
        self.gate: asyncio.Event | None = None
        self.entered = 0
        self.refunds: list[tuple[object, str]] = []

        self.orders = orders = Service(f"{prefix}desk")
        orders.owns(Saga(f"{prefix}order", starts=Placed, completes=Confirmed, fails=Failed, key="order_id"))
        orders.publishes(Refused, by="a test")
        orders.publishes(Reserved, by="a test")

        @orders.handles
        def confirm(captured: Captured) -> Confirmed:
            return Confirmed()

        @orders.handles
        def give_up(refused: Refused) -> Failed:
            return Failed(reason=refused.reason)

        self.payments = payments = Service(f"{prefix}till")

        @payments.handles
        async def capture(reserved: Reserved) -> Captured:
            self.entered += 1
            if self.gate is not None:
                await self.gate.wait()
            return Captured(order_id=reserved.order_id, cents=len(reserved.order_id))

        @payments.compensates
        def refund(refused: Refused, original: Captured | None) -> Refunded:
            self.refunds.append((original, refused.reason))
            return Refunded(cents=original.cents if original else 0)

        self.stock = stock = Service(f"{prefix}shelves")

        @stock.handles
        def reserve(placed: Placed) -> Reserved:
            return Reserved(order_id=placed.order_id, shelf="A")


@pytest.fixture
def shop(prefix: str) -> Shop:
    return Shop(prefix)


async def test_r01_starting_twice_by_key_is_one_saga(kafka: str, prefix: str, shop: Shop, log: Logs):
    chosen = settings(kafka, prefix)
    everyone = (shop.orders, shop.stock, shop.payments)
    async with running(*everyone, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        seen = log(*shop.topics)
        async with Publisher(shop.orders, settings=chosen) as publisher:
            first = await publisher.publish_async(shop.placed(order_id="1"))
            second = await publisher.publish_async(shop.placed(order_id="1"))
            await seen.until_kinds(first, "Confirmed")
            third = await publisher.publish_async(shop.placed(order_id="1"))
            again = await publisher.publish_async(shop.placed(order_id="1"), generation=2)
            await seen.until_kinds(again, "Confirmed")
            await seen.until_consumed(*everyone)
    assert first == second == third == str(uuid.uuid5(uuid.NAMESPACE_URL, f"choreo:saga:{prefix}order:1"))
    assert again != first
    assert seen.kinds(first) == ["Captured", "Confirmed", "Placed", "Placed", "Placed", "Reserved"]
    assert seen.kinds(again) == ["Captured", "Confirmed", "Placed", "Reserved"]
    assert len({each.headers["ce_id"] for each in seen.of(first) if each.kind == "Placed"}) == 1


async def test_r02_ids_follow_from_the_wire_format_and_the_same_id_is_the_same_event(
    kafka: str, prefix: str, shop: Shop, log: Logs
):
    chosen = settings(kafka, prefix)
    everyone = (shop.orders, shop.stock, shop.payments)
    async with running(*everyone, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        seen = log(*shop.topics)
        async with Publisher(shop.orders, settings=chosen) as publisher:
            saga_id = await publisher.publish_async(shop.placed(order_id="1"))
            await seen.until_kinds(saga_id, "Confirmed")
            reserved = next(each for each in seen.of(saga_id) if each.kind == "Reserved")
            told_id = reserved.headers["ce_id"]
            await publisher.publish_async(shop.reserved(order_id="1", shelf="A"), saga_id=saga_id, event_id=told_id)
            await publisher.publish_async(shop.reserved(order_id="1", shelf="B"), saga_id=saga_id, event_id=told_id)
            await seen.until(lambda: "duplicate-differs" in seen.notes(saga_id))
            await seen.until_consumed(*everyone)
    start = str(uuid.uuid5(uuid.UUID(saga_id), "start"))
    ids = {each.kind: each.headers["ce_id"] for each in seen.of(saga_id) if not each.topic.startswith("choreo.")}
    assert ids["Placed"] == start
    assert ids["Reserved"] == event_id(saga_id, f"{prefix}shelves.reserve", start)
    assert ids["Captured"] == event_id(saga_id, f"{prefix}till.capture", ids["Reserved"])
    assert ids["Confirmed"] == event_id(saga_id, f"{prefix}desk.confirm", ids["Captured"])
    # One of the two that came again was another: the first stays, and nothing more follows from either.
    assert seen.kinds(saga_id) == ["Captured", "Confirmed", "Placed", "Reserved", "Reserved", "Reserved"]
    assert seen.notes(saga_id).count("duplicate-differs") == 1


def test_r04_murmur2_is_javas():
    # The vectors of Kafka's own UtilsTest.
    hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    hashes |= {
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    }
    assert {key: java_partition(key, 1000) for key in hashes} == {
        key: (number & 0x7FFFFFFF) % 1000 for key, number in hashes.items()
    }


async def test_r04_a_saga_stays_in_one_partition_of_every_topic(kafka: str, prefix: str, shop: Shop, log: Logs):
    chosen = settings(kafka, prefix)
    everyone = (shop.orders, shop.stock, shop.payments)
    async with running(*everyone, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        seen = log(*shop.topics, *(f"{each.name.removeprefix(prefix)}.memory" for each in everyone))
        async with Publisher(shop.orders, settings=chosen) as publisher:
            starts = [shop.placed(order_id=str(number)) for number in range(20)]
            saga_ids = await publisher.publish_many_async(starts)
        await seen.until(lambda: all("Confirmed" in seen.kinds(each) for each in saga_ids))
        await seen.until(lambda: {each.key for each in seen.records if each.topic == ENDS} >= set(saga_ids))
        await seen.until_consumed(*everyone)
    counts = {each.topic: 0 for each in seen.records}
    places: dict[str, set[int]] = {}
    for each in seen.records:
        counts[each.topic] += 1
        places.setdefault(each.key, set()).add(each.partition)
    assert {each: places[each] for each in saga_ids} == {
        each: {java_partition(each.encode(), PARTITIONS)} for each in saga_ids
    }
    assert len(set().union(*places.values())) > 1
    assert {f"{each.name}.memory" for each in everyone} <= set(counts)


async def test_r05_an_ended_saga_is_forgotten_by_every_service(kafka: str, prefix: str, shop: Shop, log: Logs):
    chosen = settings(kafka, prefix, remember_for=timedelta(seconds=1))
    everyone = (shop.orders, shop.stock, shop.payments)
    memories = [f"{each.name}.memory" for each in everyone]
    async with running(*everyone, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        seen = log(*shop.topics, *(each.removeprefix(prefix) for each in memories))
        async with Publisher(shop.orders, settings=chosen) as publisher:
            saga_id = await publisher.publish_async(shop.placed(order_id="1"))

            def forgotten() -> bool:
                return all(any(each.value is None for each in seen.of(saga_id, topic)) for topic in memories)

            await seen.until(forgotten)
            assert len(seen.of(saga_id, ENDS)) == 1
            assert all(seen.of(saga_id, topic)[-1].value is None for topic in memories)
            # What is forgotten may begin again: once more than while it was remembered.
            await publisher.publish_async(shop.placed(order_id="1"))
            await seen.until(lambda: seen.kinds(saga_id).count("Confirmed") == 2)
    assert seen.kinds(saga_id).count("Captured") == 2


async def test_r08_what_a_service_emits_counts_for_it_at_once(kafka: str, prefix: str, log: Logs):
    class Placed(Event, topic=f"{prefix}orders"):
        order_id: str

    class Picked(Event, topic=f"{prefix}orders"):
        pass

    class Packed(Event, topic=f"{prefix}orders"):
        pass

    service = Service(f"{prefix}desk")
    service.owns(Saga(f"{prefix}order", starts=Placed, completes=Packed, key="order_id"))

    @service.handles
    def pick(placed: Placed) -> Picked:
        return Picked()

    @service.handles
    def pack(placed: Placed, picked: Picked) -> Packed:
        return Packed()

    chosen = settings(kafka, prefix)
    async with running(service, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        seen = log("orders")
        async with Publisher(service, settings=chosen) as publisher:
            starts = [Placed(order_id=str(number)) for number in range(50)]
            saga_ids = await publisher.publish_many_async(starts)
        await seen.until(lambda: all("Packed" in seen.kinds(each) for each in saga_ids))
        await seen.until_consumed(service)
    assert [seen.kinds(each) for each in saga_ids] == [["Packed", "Picked", "Placed"]] * 50
    packed = next(each for each in seen.of(saga_ids[0]) if each.kind == "Packed")
    assert packed.headers["ce_id"] == event_id(saga_ids[0], f"{service.name}.pack", "")


async def test_r10_what_dies_before_its_commit_leaves_nothing_and_is_done_again(
    kafka: str, prefix: str, shop: Shop, log: Logs
):
    chosen = settings(kafka, prefix)
    everyone = (shop.orders, shop.stock, shop.payments)
    shop.gate = asyncio.Event()
    ready = asyncio.Event()

    async def until_killed() -> None:
        async with running(*everyone, settings=chosen, create_topics=True) as live:
            await live.wait_ready()
            ready.set()
            for worker in asyncio.all_tasks():
                if worker.get_name() == shop.payments.name:
                    await asyncio.wait({worker})

    first = asyncio.create_task(until_killed())
    await ready.wait()
    seen = log(*shop.topics)
    async with Publisher(shop.orders, settings=chosen) as publisher:
        saga_id = await publisher.publish_async(shop.placed(order_id="1"))
    await seen.until(lambda: shop.entered)
    next(each for each in asyncio.all_tasks() if each.get_name() == shop.payments.name).cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await seen.until_kinds(saga_id, "Placed", "Reserved")
    assert seen.kinds(saga_id) == ["Placed", "Reserved"]

    shop.gate.set()
    async with running(*everyone, settings=chosen) as live:
        await live.wait_ready()
        await seen.until_kinds(saga_id, "Confirmed")
        await seen.until_consumed(*everyone)
    assert seen.kinds(saga_id) == ["Captured", "Confirmed", "Placed", "Reserved"]
    assert shop.entered == 2


async def test_r13_a_zombie_publishes_nothing(kafka: str, prefix: str, log: Logs):
    zombie, heir = Shop(prefix), Shop(prefix)
    chosen = settings(kafka, prefix)
    zombie.gate = asyncio.Event()
    ready, over = asyncio.Event(), asyncio.Event()

    async def die_slowly() -> None:
        async with running(zombie.payments, settings=chosen) as live:
            await live.wait_ready()
            ready.set()
            await over.wait()

    others = settings(kafka, prefix, instance=f"{prefix}other")
    async with running(zombie.orders, zombie.stock, zombie.payments, settings=chosen, create_topics=True):
        pass
    async with running(heir.orders, heir.stock, settings=others) as live:
        await live.wait_ready()
        dying = asyncio.create_task(die_slowly())
        await ready.wait()
        seen = log(*heir.topics)
        async with Publisher(heir.orders, settings=others) as publisher:
            saga_id = await publisher.publish_async(heir.placed(order_id="1"))
        await seen.until(lambda: zombie.entered)
        async with running(heir.payments, settings=chosen) as live_heir:
            await live_heir.wait_ready()
            await seen.until_kinds(saga_id, "Confirmed")
            zombie.gate.set()
            over.set()
            with pytest.raises(Fenced):
                await dying
            await seen.until_consumed(heir.orders, heir.stock, heir.payments)
    assert seen.kinds(saga_id) == ["Captured", "Confirmed", "Placed", "Reserved"]
    assert (zombie.entered, heir.entered) == (1, 1)


async def test_r14_a_compensation_gets_its_original_whole_and_runs_once(kafka: str, prefix: str, shop: Shop, log: Logs):
    chosen = settings(kafka, prefix)
    everyone = (shop.stock, shop.payments)
    async with running(shop.orders, *everyone, settings=chosen, create_topics=True):
        pass
    async with running(*everyone, settings=chosen) as live:
        await live.wait_ready()
        seen = log(*shop.topics)
        async with Publisher(shop.orders, settings=chosen) as publisher:
            saga_id = await publisher.publish_async(shop.placed(order_id="12345"))
            await seen.until_kinds(saga_id, "Captured")
            await publisher.publish_async(shop.refused(reason="too far"), saga_id=saga_id)
            await seen.until_kinds(saga_id, "Refunded")
            await publisher.publish_async(shop.refused(reason="still too far"), saga_id=saga_id)
            await seen.until_consumed(*everyone)
    captured = shop.captured(order_id="12345", cents=5)
    assert shop.refunds == [(captured, "too far")]
    assert seen.kinds(saga_id).count("Refunded") == 1
    refunded = next(each for each in seen.of(saga_id) if each.kind == "Refunded")
    original = next(each for each in seen.of(saga_id) if each.kind == "Captured")
    assert refunded.headers["ce_compensatesid"] == original.headers["ce_id"]
    assert refunded.headers["ce_id"] == event_id(saga_id, f"{prefix}till.refund", original.headers["ce_id"])


async def _refused_first(kafka: str, prefix: str, shop: Shop, payments: Service, seen: Log) -> str:
    """Let a saga's failure be consumed before what it cancels could begin."""
    chosen = settings(kafka, prefix)
    async with Publisher(shop.orders, settings=chosen) as publisher:
        saga_id = await publisher.publish_async(shop.placed(order_id="1"))
        await publisher.publish_async(shop.refused(reason="too far"), saga_id=saga_id)
        await seen.until_kinds(saga_id, "Refused")
        await seen.until_consumed(payments)
        await publisher.publish_async(shop.reserved(order_id="1"), saga_id=saga_id)
        await seen.until_kinds(saga_id, "Reserved")
        await seen.until_consumed(payments)
    return saga_id


async def test_r15_r17_a_cause_that_is_first_cancels_the_step(kafka: str, prefix: str, shop: Shop, log: Logs):
    payments = Service(f"{prefix}purse")
    Reserved, Captured, Refused, Refunded = shop.events  # noqa: N806 - classes.

    @payments.handles
    def capture(reserved: Reserved) -> Captured:
        raise AssertionError("cancelled, so it must not run")

    @payments.compensates
    def refund(refused: Refused, original: Captured) -> Refunded:
        raise AssertionError("there is no original")

    everyone = (shop.orders, shop.stock, shop.payments)
    async with running(*everyone, payments, settings=settings(kafka, prefix), create_topics=True):
        pass
    async with running(payments, settings=settings(kafka, prefix)) as live:
        await live.wait_ready()
        seen = log(*shop.topics)
        saga_id = await _refused_first(kafka, prefix, shop, payments, seen)
    assert seen.kinds(saga_id) == ["Placed", "Refused", "Reserved"]
    assert "skipped" in seen.notes(saga_id)
    assert "parked" not in seen.notes(saga_id)


async def test_r16_a_cancelled_step_is_undone_without_an_original(kafka: str, prefix: str, shop: Shop, log: Logs):
    everyone = (shop.orders, shop.stock, shop.payments)
    async with running(*everyone, settings=settings(kafka, prefix), create_topics=True):
        pass
    async with running(shop.payments, settings=settings(kafka, prefix)) as live:
        await live.wait_ready()
        seen = log(*shop.topics)
        saga_id = await _refused_first(kafka, prefix, shop, shop.payments, seen)
    assert seen.kinds(saga_id) == ["Placed", "Refunded", "Refused", "Reserved"]
    assert shop.refunds == [(None, "too far")]
    assert shop.entered == 0
    refunded = next(each for each in seen.of(saga_id) if each.kind == "Refunded")
    reserved = next(each for each in seen.of(saga_id) if each.kind == "Reserved")
    # The undone step's idempotency key stands in for the original that never was.
    text = "".join(f"{part}\n" for part in (saga_id, f"{prefix}till.capture", "", reserved.headers["ce_id"], "effect"))
    digest = bytearray(hashlib.blake2b(text.encode(), digest_size=16).digest())
    digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80
    assert refunded.headers["ce_compensatesid"] == str(uuid.UUID(bytes=bytes(digest)))


async def test_r19_who_has_seen_a_failure_completes_nothing(kafka: str, prefix: str, shop: Shop, log: Logs):
    chosen = settings(kafka, prefix)
    everyone = (shop.orders, shop.stock, shop.payments)
    async with running(*everyone, settings=chosen, create_topics=True):
        pass
    async with running(shop.orders, settings=chosen) as orders:
        await orders.wait_ready()
        seen = log(*shop.topics)
        async with Publisher(shop.orders, settings=chosen) as publisher:
            saga_id = await publisher.publish_async(shop.placed(order_id="1"))
            await seen.until_consumed(shop.orders)
            await publisher.publish_async(shop.refused(reason="too far"), saga_id=saga_id)
            await seen.until_kinds(saga_id, "Failed")
        late = Service(f"{prefix}late")
        Reserved, Captured, *_ = shop.events  # noqa: N806 - classes.

        @late.handles
        def capture(reserved: Reserved) -> Captured:
            return Captured(order_id=reserved.order_id)

        others = settings(kafka, prefix, instance=f"{prefix}late")
        async with running(late, settings=others, create_topics=True), Publisher(shop.orders, settings=chosen) as again:
            await again.publish_async(shop.reserved(order_id="1"), saga_id=saga_id)
            await seen.until_kinds(saga_id, "Captured")
            await seen.until_consumed(shop.orders, late)
    assert "Confirmed" not in seen.kinds(saga_id)
    assert "dropped" in seen.notes(saga_id)
    ends = seen.of(saga_id, ENDS)
    assert [each.note["outcome"] for each in ends] == ["failed"]
    assert [each.note["service"] for each in seen.of(saga_id, JOURNAL) if each.note["note"] == "dropped"] == [
        shop.orders.name
    ]
