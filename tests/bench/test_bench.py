"""The benchmarks still measure what they say, on a load that takes seconds; no time is asserted."""

import uuid

import pytest

from bench import measure, profile, report, startup
from bench.events import OrderConfirmed, StockReserved
from bench.load import PARTITIONS, at_the_end, clean, create_topics
from choreo.kafka import KafkaTransport

SAGAS = 300
# One after another: they share topics, and other tests' topics stay.
pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("bench")]


@pytest.fixture
def bootstrap(kafka: str) -> str:
    clean(kafka, beginnings=("bench",))
    return kafka


def committed(bootstrap: str, topic: str) -> int:
    reader = KafkaTransport({"bootstrap.servers": bootstrap}).reader([topic], None)
    ends = reader.ends()
    found = 0
    at = dict.fromkeys(ends, 0)
    while any(at[position] < end for position, end in ends.items()):
        for record in reader.poll(0.1, 1000):
            found += 1
            at[record.topic, record.partition] = record.offset + 1
        ends = reader.ends()
    reader.close()
    return found


@pytest.mark.parametrize("run", [measure.raw_hop, measure.choreo_hop])
def test_one_hop_is_one_event_a_saga(bootstrap: str, run):
    measure.fill_starts(bootstrap, SAGAS)

    result = run(bootstrap, SAGAS, 100)

    assert result["events"] == SAGAS
    assert committed(bootstrap, StockReserved.__choreo_topic__) == SAGAS


@pytest.mark.parametrize("run", [measure.raw_four, measure.choreo_four])
def test_four_steps_bring_every_saga_to_its_end(bootstrap: str, run):
    measure.fill_starts(bootstrap, SAGAS)

    result = run(bootstrap, SAGAS, 100)

    assert result["events"] == 4 * SAGAS
    assert committed(bootstrap, OrderConfirmed.__choreo_topic__) == SAGAS


def test_latency_counts_every_hop(bootstrap: str):
    result = measure.latency(bootstrap, 20, 50, 1)

    assert result["count"] == 20
    assert result["p50_ms"] <= result["p99_ms"] <= result["max_ms"]


def test_memory_restores_every_saga(bootstrap: str):
    measure.fill_memory(bootstrap, SAGAS)

    assert measure.memory(bootstrap, SAGAS)["sagas"] == SAGAS


def test_choreo_run_and_a_bare_client_are_assigned(bootstrap: str):
    assert measure.join(bootstrap)["seconds"] > 0
    assert startup.run_to_ready(bootstrap) > 0


def test_the_help_comes():
    assert startup.helped(1) > 0


def test_clean_leaves_what_it_is_told_to(bootstrap: str):
    kept, gone = f"bench-kept-{uuid.uuid4().hex[:6]}", f"bench-gone-{uuid.uuid4().hex[:6]}"
    create_topics(bootstrap, kept, gone)

    clean(bootstrap, keep=[kept], beginnings=("bench",))

    transport = KafkaTransport({"bootstrap.servers": bootstrap})
    assert set(transport.describe([kept, gone])) == {kept}
    assert at_the_end(bootstrap, kept).poll(0) is None
    assert transport.describe([kept])[kept].partitions == PARTITIONS


def test_every_stage_of_the_hot_path_is_told():
    found = profile.stages(1000)

    assert profile.table(found).count("\n") == len(found) + 1
    assert {each.by_hand_us is None for each in found} == {True, False}


def test_the_page_has_room_for_the_tables(tmp_path, monkeypatch):
    page = tmp_path / "benchmarks.md"
    page.write_text(report.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(report, "PAGE", page)
    figure = report.Figure("one hop", "\\1 ms", "≤ 10 ms", met=True)

    for name in ("figures", "profile"):
        report.write(name, report.table([figure]))
        report.write(name, report.table([figure]))

    assert page.read_text(encoding="utf-8").count("| one hop | \\1 ms | ≤ 10 ms | yes |") == 2
