"""Records that cannot be read: each in the dead letters with its bytes and the reason, and none stops the others."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from choreo.memory import Memory
from choreo.transport import Record
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
    bench = Bench(paying(), refresh=None)

    async def refresh() -> None:
        looks.append(1)

    bench.engine._refresh = refresh
    broken = BROKEN["unknown-fingerprint"]
    work = bench.process(*(broken(bench.record(Placed(), f"e{n}")) for n in range(3)))
    assert len(looks) == 1, "one look a batch"
    assert topics(work.outputs) == ["payments.dlq"] * 3


def test_r29_an_end_that_is_none_is_a_dead_letter():
    bench = Bench(paying())
    records = [Record("choreo.ends", 0, n, b"saga", value, [], 0) for n, value in enumerate([b"{}", b"[", None, b"1"])]
    assert topics(bench.process(*records).outputs) == ["payments.dlq"] * 4


headers = st.lists(
    st.tuples(
        st.sampled_from(["ce_id", "ce_type", "ce_sagaid", "ce_hop", "ce_time", "ce_branch", "ce_path", "x"]),
        st.one_of(st.binary(max_size=30), st.sampled_from([b"orders.Placed", b"payments.Paid", b"saga", b"1"])),
    ),
    max_size=8,
)
records = st.builds(
    Record,
    topic=st.sampled_from(["orders", "payments", "choreo.ends"]),
    partition=st.just(0),
    offset=st.integers(0, 10**9),
    key=st.one_of(st.none(), st.binary(max_size=20), st.just(b"saga")),
    value=st.one_of(
        st.none(), st.binary(max_size=60), st.binary(max_size=30).map(lambda tail: b"\xc3\x01" + tail), st.just(b"{}")
    ),
    headers=headers,
    timestamp_ms=st.integers(-1, 2**40),
)


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(records, min_size=100, max_size=100), st.integers(0, 5))
def test_r29_random_records_never_crash_and_none_is_lost(noise: list[Record], whole: int):
    """1,000 × 100 records: each is passed over as known, dead-lettered, or processed; whole ones always go on."""
    bench = Bench(owning())
    wholes = [bench.record(Placed(n=n), f"w{n}", saga_id=f"saga-{n}", saga_type="order") for n in range(whole)]
    mixed = [*noise, *wholes, *(bench.record(Paid(n=n), f"p{n}", f"saga-{n}", saga_type="order") for n in range(whole))]
    work = asyncio.run(bench.engine.process(mixed))
    done = [each for each in work.outputs if each.topic == "orders"]
    assert len(done) == whole
    letters = [each for each in work.outputs if each.topic == "orders.dlq"]
    assert {each.value for each in letters} <= {each.value for each in noise}
    for each in work.changelog:
        assert each.value is not None
        Memory.decode(each.value)
