"""Records that cannot be read: each in the dead letters with its bytes and the reason, and none stops the others."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.errors import BrokerUnavailable
from choreo.memory import Memory
from choreo.runtime import intake
from choreo.transport import Record
from tests.effort import part
from tests.runtime.engines import SAGA_ID, Bench, header, topics
from tests.runtime.test_engine import Paid, Placed, owning, paying


def changed(record: Record, drop: str = "", **headers: bytes) -> Record:
    kept = [(name, value) for name, value in record.headers if name not in {drop, *headers}]
    return record._replace(headers=[*kept, *headers.items()])


BROKEN = {
    "undecodable": lambda record: record._replace(value=record.value[:10] + b"\xff" * 20),
    "unknown-type": lambda record: changed(record, ce_type=b"orders.Unheard"),
    "missing-id": lambda record: changed(record, drop="ce_id"),
    "unknown-fingerprint": lambda record: record._replace(value=b"\xc3\x01" + b"12345678" + record.value[10:]),
    "oversized": lambda record: record._replace(value=record.value + b"\0" * 5_000_000),
    "key-mismatch": lambda record: changed(record, ce_sagaid=b"another"),
}


@pytest.mark.parametrize("reason", BROKEN)
def test_r29_what_cannot_be_read_is_kept_whole_and_later_records_go_on(reason: str):
    bench = Bench(paying())
    broken = BROKEN[reason](bench.record(Placed(), "broken"))
    work = bench.process(broken, bench.record(Placed(n=2), "whole"))
    assert sorted(topics(work.outputs)) == ["payments", "payments.dlq"]
    letter = next(each for each in work.outputs if each.topic == "payments.dlq")
    assert letter.value == broken.value
    assert letter.key == broken.key
    assert letter.headers[: len(broken.headers)] == broken.headers
    assert header(letter, "choreo_dlq_reason") == reason
    assert header(letter, "choreo_dlq_topic") == "orders"
    assert work.offsets == {("orders", 0): 2}
    assert bench.engine.counts[f"dead-lettered:{reason}"] == 1


def test_r29_a_memory_that_cannot_be_read_concerns_its_saga_alone():
    bench = Bench(paying())
    bench.engine.gain(0, {SAGA_ID: b"\x01garbage"})
    work = bench.process(bench.record(Placed()), bench.record(Placed(), saga_id="another"))
    assert sorted(topics(work.outputs)) == ["payments", "payments.dlq"]
    letter = next(each for each in work.outputs if each.topic == "payments.dlq")
    assert header(letter, "choreo_dlq_reason") == "memory-unreadable"
    assert topics(work.changelog) == ["payments.memory"]


def test_r29_what_is_unknown_gets_a_second_chance_with_new_manifests():
    looks = []

    async def refresh() -> None:
        looks.append(1)

    bench = Bench(paying(), refresh=refresh)
    broken = BROKEN["unknown-fingerprint"]
    useless = BROKEN["missing-id"](bench.record(Placed(), "useless"))
    work = bench.process(useless, *(broken(bench.record(Placed(), f"e{n}")) for n in range(3)))
    assert len(looks) == 1, "one look a batch"
    assert topics(work.outputs) == ["payments.dlq"] * 4, "and none is told of twice for it"


def test_r29_nothing_is_a_dead_letter_because_brokers_are_slow(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    monkeypatch.setattr(intake, "LOOK_AGAIN_S", 0.0)
    looks = []

    async def refresh() -> None:
        looks.append(1)
        if len(looks) < 3:
            raise BrokerUnavailable("nothing has come for 30 s")

    bench = Bench(paying(), refresh=refresh)
    whole = bench.record(Placed())
    broken = BROKEN["unknown-fingerprint"](bench.record(Placed(), "unknown"))
    work = bench.process(whole, broken)
    assert len(looks) == 3, "the batch is kept and tried again"
    assert caplog.text.count("a batch waits for the manifests, again: nothing has come for 30 s") == 2
    assert work.offsets == {("orders", 0): 2}


def test_r29_an_end_that_is_none_is_a_dead_letter():
    bench = Bench(paying())
    records = [Record("choreo.ends", 0, n, b"saga", value, [], 0) for n, value in enumerate([b"{}", b"[", None, b"1"])]
    assert topics(bench.process(*records).outputs) == ["payments.dlq"] * 4


NAMES = ["ce_id", "ce_type", "ce_sagaid", "ce_hop", "ce_time", "ce_branch", "ce_path", "ce_causes", "x"]
TEXTS = [b"orders.Placed", b"payments.Paid", b"saga", b"1", b"2026-01-01T00:00:00Z", b"", b"\xff"]


def noise(source: random.Random, whole: Record) -> Record:
    """A record that is anything from pure noise to a whole one with one thing wrong."""
    record = Record(
        source.choice(["orders", "payments", "choreo.ends"]),
        0,
        source.randrange(10**9),
        source.choice([None, b"", b"saga", source.randbytes(8)]),
        source.choice([None, b"{}", source.randbytes(source.randrange(60)), b"\xc3\x01" + source.randbytes(20)]),
        [(source.choice(NAMES), source.choice([*TEXTS, source.randbytes(9)])) for _ in range(source.randrange(8))],
        source.randrange(-1, 2**40),
    )
    if source.random() < 0.5:
        return record
    body = bytearray(whole.value or b"")
    body[source.randrange(len(body))] = source.randrange(256)
    kept = [each for each in whole.headers if source.random() < 0.9]
    return whole._replace(value=bytes(body), headers=[*kept, *record.headers[:1]])


@settings(max_examples=part(20, of=100), deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 5))
def test_r29_random_records_never_crash_and_none_is_lost(seed: int, whole: int):
    """100 × 1,000 records: each is passed over as known, dead-lettered or processed; whole ones always go on."""
    bench = Bench(owning())
    source = random.Random(seed)
    sample = bench.record(Placed(n=1), "sample", saga_id="sample", saga_type="order")
    mixed = [noise(source, sample) for _ in range(1000)]
    wholes = [bench.record(Placed(n=n), f"w{n}", saga_id=f"saga-{n}", saga_type="order") for n in range(whole)]
    paid = [bench.record(Paid(n=n), f"p{n}", f"saga-{n}", saga_type="order") for n in range(whole)]
    work = asyncio.run(bench.engine.process([*mixed, *wholes, *paid]))
    ours = [each for each in work.outputs if each.topic == "orders" and each.key.startswith(b"saga-")]
    assert len(ours) == whole
    letters = [each for each in work.outputs if each.topic == "orders.dlq"]
    assert {(each.key, each.value) for each in letters} <= {(each.key, each.value) for each in mixed}
    assert len(letters) == work.counts["dead-lettered"]
    for each in work.changelog:
        assert each.value is not None
        Memory.decode(each.value)
