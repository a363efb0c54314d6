"""A memory's bytes: whole round trips, and nothing but `UndecodableRecord` for bytes that are none."""

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.errors import UndecodableRecord
from choreo.memory import Fence, Memory, MemoryFlag, Recorded, Status, Timer, TimerKind, Waiting, peek, with_end
from choreo.memory.record import OCCURRED_US_MAX, OCCURRED_US_MIN

texts = st.text(max_size=40)
names = st.text(st.characters(exclude_characters=",", exclude_categories=["Cs"]), min_size=1, max_size=20)
moments = st.integers(OCCURRED_US_MIN, OCCURRED_US_MAX)
recorded = st.builds(
    Recorded,
    event_id=texts,
    type=texts,
    branch=texts,
    hop=st.integers(0, 65535),
    occurred_us=moments,
    source=texts,
    causation_id=texts,
    causes=st.lists(names, max_size=3).map(tuple),
    compensates_id=texts,
    path=st.lists(names, max_size=3).map(tuple),
    body=st.binary(max_size=400),
    check=st.integers(0, 2**32 - 1),
    mine=st.booleans(),
    read=st.booleans(),
    saga_type=texts,
    business_key=texts,
    step=texts,
    trigger=texts,
    traceparent=texts,
    tracestate=texts,
)
counts = st.integers(0, 2**32 - 1)
ids = st.lists(texts, max_size=3).map(tuple)
timer_keys = st.tuples(st.sampled_from(TimerKind), texts, texts, texts, counts)
waiting = st.builds(
    Waiting, counts, st.booleans(), texts, st.lists(ids, max_size=3).map(tuple), ids, texts, texts, texts
)
fences = st.dictionaries(
    st.tuples(texts, texts, texts), st.builds(Fence, st.sampled_from(Status), st.integers(0, 2**32 - 1)), max_size=5
)


@st.composite
def memories(draw: st.DrawFn) -> Memory:
    memory = Memory()
    memory.flags = draw(st.integers(0, 15))
    memory.ended_ms = draw(st.integers(0, 2**63))
    memory.terminal_id = draw(texts)
    memory.state = draw(st.binary(max_size=300))
    memory.fences = draw(fences)
    memory.events = {each.event_id: each for each in draw(st.lists(recorded, max_size=4))}
    memory.held = {each.event_id: each for each in draw(st.lists(recorded, max_size=2))}
    for key in draw(st.lists(timer_keys, max_size=3)):
        event = draw(recorded) if key[0] is not TimerKind.RETRY else None
        memory.timers[key] = Timer(draw(st.integers(1, 2**63)), event, draw(ids))
    memory.waiting = {key: draw(waiting) for key in memory.fences if draw(st.booleans())}
    memory.owed = dict.fromkeys(draw(fences))
    return memory


@given(memories())
def test_a_memory_survives_its_bytes(memory: Memory):
    data = memory.encode()
    again = Memory.decode(data)
    assert again.encode() == data
    assert again.fences == memory.fences
    assert again.events == memory.events
    assert (again.state, again.terminal_id, again.ended_ms) == (memory.state, memory.terminal_id, memory.ended_ms)
    assert again.held == memory.held
    assert (again.timers, again.waiting, again.owed) == (memory.timers, memory.waiting, memory.owed)
    seen = peek(data)
    assert seen.ended_ms == memory.ended_ms
    assert seen.due_ms == min((each.due_ms for each in memory.timers.values()), default=0)
    waits = {each.status for each in memory.fences.values()} & {Status.PARKED, Status.RETRYING}
    assert bool(seen.flags & MemoryFlag.BUSY) == bool(waits or memory.held)
    assert bool(seen.flags & MemoryFlag.OWED) == bool(memory.owed)


@given(memories(), st.data())
def test_r29_damaged_bytes_are_told_apart(memory: Memory, data: st.DataObject):
    whole = memory.encode()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(UndecodableRecord):
        Memory.decode(whole[:cut])
    with pytest.raises(UndecodableRecord):
        Memory.decode(whole + b"x")


@given(st.binary(max_size=200))
def test_r29_random_bytes_never_crash(noise: bytes):
    try:
        Memory.decode(b"\x03" + noise)
    except UndecodableRecord as error:
        assert error.reason == "memory-unreadable"
    peek(noise)


def test_r29_what_cannot_be_true_is_damaged():
    """Whoever reads a memory relies on it: a step that waits has a fence, what is due has an event."""
    unfenced = Memory()
    unfenced.waiting["charge", "", "t"] = Waiting(1, False, "", (), (), "t", "", "")
    with pytest.raises(UndecodableRecord, match="a step waits that was never taken"):
        Memory.decode(unfenced.encode())
    for kind in (TimerKind.DEADLINE, TimerKind.LATER):
        empty = Memory()
        empty.timers[kind, "remind", "", "t", 0] = Timer(1)
        with pytest.raises(UndecodableRecord, match="nobody knows for what event"):
            Memory.decode(empty.encode())


@given(memories(), st.integers(1, 2**63))
def test_an_end_is_stamped_without_touching_the_rest(memory: Memory, ended_ms: int):
    stamped = with_end(memory.encode(), ended_ms)
    if memory.timers or memory.owed:
        assert stamped is None, "the end may call one of them off, and nothing is owed for ever"
        return
    memory.ended_ms = ended_ms
    assert stamped == memory.encode()
    assert with_end(b"\x02" + stamped[1:], 1) is None


def test_a_one_hop_memory_is_small():
    memory = Memory()
    memory.fences["capture", "", "0198c0de-0000-7000-8000-000000000001"] = Fence(Status.DONE, 1)
    assert len(memory.encode()) < 80


@pytest.mark.parametrize(
    "timer",
    [
        Timer(-1, Recorded("e", "T")),
        Timer(1, Recorded("e", "T", occurred_us=OCCURRED_US_MAX + 1)),
        Timer(1, Recorded("e", "T", occurred_us=OCCURRED_US_MIN - 1)),
    ],
    ids=["due before 1970", "after the year 9999", "before the year 1"],
)
def test_r29_a_time_that_cannot_be_is_damaged(timer: Timer):
    """Every other memory can be written again, which is what a service does with it next."""
    timers = {(2, "handler", "", "trigger", 0): timer}
    data = bytes((3, 0)) + msgspec.msgpack.encode(("", b"", {}, [], [], timers, {}, []))

    with pytest.raises(UndecodableRecord):
        Memory.decode(data)


def test_r29_flags_that_the_last_release_did_not_have_are_passed_over():
    data = struct.pack(">BBQQ", 2, 64 | 128 | MemoryFlag.STARTED, 0, 0) + bytes(8)

    assert peek(data).flags == MemoryFlag.STARTED
    assert Memory.decode(Memory.decode(data).encode()).flags == MemoryFlag.STARTED
