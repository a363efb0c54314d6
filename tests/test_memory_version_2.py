"""Memory topics that the release before wrote are still read: a process restores whatever its partitions hold.

The bytes in `data/memory_version_2.json` were written by that release, from the memories that are made here.
"""

import json
from pathlib import Path

import pytest

from choreo.errors import UndecodableRecord
from choreo.memory import Fence, Memory, MemoryFlag, Recorded, Status, Timer, TimerKind, Waiting, peek, with_end

WRITTEN = {
    name: bytes.fromhex(digits)
    for name, digits in json.loads((Path(__file__).parent / "data/memory_version_2.json").read_text()).items()
}
IDS = [f"0198c0de-0000-7000-8000-{n:012x}" for n in range(1, 10)]
ORDER = Recorded(
    event_id=IDS[0],
    type="shop.orders.OrderPlaced",
    hop=1,
    occurred_us=1_767_225_600_000_001,
    source="https://shop.example/web",
    causation_id=IDS[1],
    causes=(IDS[1], IDS[2]),
    compensates_id=IDS[3],
    path=("shop.place", "stock.reserve"),
    body=b"\xc3\x01" + bytes(range(200)),
    check=0xFEDCBA98,
    saga_type="order",
    business_key="4711 äöü",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    tracestate="vendor=value",
)
OWN = Recorded(
    event_id=IDS[4],
    type="stock.Reserved",
    branch="a/1",
    hop=0xFFFF,
    occurred_us=-1,
    mine=True,
    read=False,
    step="reserve",
    trigger=IDS[0],
    body=b"x",
)


def one_of_each() -> Memory:
    memory = Memory()
    memory.flags = 1 | 2 | 8
    memory.ended_ms = 1_767_225_600_123
    memory.terminal_id = IDS[5]
    memory.state = b'{"seen":3}'
    memory.fences = {("step", f"b/{status.value}", IDS[6]): Fence(status, 7 * status) for status in Status}
    memory.events = {each.event_id: each for each in (ORDER, OWN)}
    memory.held = {IDS[7]: ORDER._replace(event_id=IDS[7])}
    memory.timers = {
        (TimerKind.RETRY, "step", "b/4", IDS[6], 0): Timer(1_767_225_700_000),
        (TimerKind.DEADLINE, "overdue", "", IDS[0], 0): Timer(1_767_225_800_000, ORDER),
        (TimerKind.LATER, "remind", "a/1", IDS[0], 3): Timer(1_767_225_650_000, OWN, ("shop.Paid", "shop.Gone")),
    }
    memory.waiting = {
        ("step", "b/4", IDS[6]): Waiting(
            2, False, "OSError('gone')", ((IDS[0],), (), (IDS[4], IDS[0])), (IDS[0],), IDS[0]
        ),
        ("step", "b/3", IDS[6]): Waiting(9, True, "no", ((IDS[0],),), (), IDS[0], IDS[1], IDS[2], IDS[3]),
    }
    memory.owed = dict.fromkeys([("step", "b/1", IDS[6]), ("step", "b/2", IDS[6])])
    return memory


def one_hop() -> Memory:
    memory = Memory()
    memory.fences["reserve", "", IDS[0]] = Fence(Status.DONE, 0xFFFFFFFF)
    return memory


def ended() -> Memory:
    memory = one_hop()
    memory.ended_ms = 1_767_225_600_123
    return memory


def many() -> Memory:
    memory = Memory()
    memory.fences = {("count", f"a/{n}", "t"): Fence(Status.DONE, n) for n in range(130)}
    memory.state = bytes(300)
    return memory


MEMORIES = {"empty": Memory(), "one-hop": one_hop(), "ended": ended(), "many": many(), "one-of-each": one_of_each()}


def content(memory: Memory) -> dict[str, object]:
    """Return its attributes; which flags are worked out when it is written, `peek` tells."""
    kept = MemoryFlag.STARTED | MemoryFlag.ABORTED | MemoryFlag.COMPLETED | MemoryFlag.FAILED
    return {name: getattr(memory, name) for name in Memory.__struct_fields__} | {"flags": memory.flags & kept}


@pytest.mark.parametrize("name", MEMORIES)
def test_a_memory_of_the_release_before_is_read(name: str) -> None:
    expected = MEMORIES[name]
    memory = Memory.decode(WRITTEN[name])

    assert content(memory) == content(expected)
    assert [*memory.fences] == [*expected.fences], "the order is the one it was written in"
    assert memory.encode()[0] == Memory().encode()[0], "what is written from now on has the new form"


@pytest.mark.parametrize("name", MEMORIES)
def test_its_head_is_told_without_decoding(name: str) -> None:
    assert peek(WRITTEN[name]) == peek(MEMORIES[name].encode())
    assert with_end(WRITTEN[name], 1) is None, "the end goes the long way, which writes the new form"


@pytest.mark.parametrize("name", sorted(MEMORIES.keys() - {"one-of-each"}))
def test_a_memory_is_no_longer_than_it_was(name: str) -> None:
    assert len(MEMORIES[name].encode()) <= len(WRITTEN[name])


@pytest.mark.parametrize("name", MEMORIES)
def test_damaged_bytes_of_it_are_told_apart(name: str) -> None:
    whole = WRITTEN[name]
    for data in (whole[:-1], whole[: len(whole) // 2], whole[:5], whole + b"x"):
        with pytest.raises(UndecodableRecord) as refused:
            Memory.decode(data)
        assert refused.value.reason == "memory-unreadable"
