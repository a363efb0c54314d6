"""Topics, isolation, order and what is held back; what every transport promises is in the contract."""

import threading
import time

import pytest

from choreo.clock import ManualClock
from choreo.errors import Fenced, TopicProblem
from choreo.service import declarations
from choreo.settings import Settings
from choreo.testing import MemoryBroker
from choreo.topics import check_topics, needed
from choreo.transport import Commit, Outgoing, TopicSpec
from tests.testing.brokers import broker, member, outcome, put, texts
from tests.testing.shop import ALL


def test_a_topic_that_does_not_exist_is_nobodys():
    at = broker()
    told = []
    at.sender().enqueue(Outgoing("nowhere", b"k", b"v", []), told.append)
    assert [type(each) for each in told] == [TopicProblem]
    with pytest.raises(TopicProblem, match="nowhere"):
        at.source(group="g", topics=["nowhere"], memory_topic="out", delivery="exactly_once", instance="a")
    assert at.reader(["nowhere"]).poll(0, 10) == []


def test_topics_are_created_once_and_described():
    at = broker()
    at.create([TopicSpec("orders", 9, 1, {"cleanup.policy": "compact"}), TopicSpec("new", 2, 1, {"a": "b"})])
    found = at.describe(["orders", "new", "nowhere"])
    assert {name: (state.partitions, dict(state.config)) for name, state in found.items()} == {
        "orders": (4, {}),
        "new": (2, {"a": "b"}),
    }
    with pytest.raises(TopicProblem, match="no partition"):
        at.create([TopicSpec("none", 0)])


def test_r39_a_source_on_topics_of_different_widths_is_refused_with_what_to_do():
    at = broker()
    at.create([TopicSpec("wide", 5)])
    with pytest.raises(TopicProblem, match="orders has 4, wide has 5, out has 4  bring all of them to 5"):
        at.source(group="g", topics=["orders", "wide"], memory_topic="out", delivery="exactly_once", instance="a")


def test_r39_a_service_does_not_start_on_topics_of_different_widths():
    at = MemoryBroker()
    found = declarations(*ALL)
    settings = Settings.model_construct(partitions=3)
    at.create([TopicSpec("orders", 5)])
    at.create([each for each in needed(found, settings) if each.name != "orders"])
    with pytest.raises(TopicProblem, match=r"3: .*payments.*5: orders.*--partitions 5"):
        check_topics(found, at, settings)


def test_a_commit_to_a_topic_that_does_not_exist_writes_nothing():
    at = broker()
    one = member(at)
    put(at, "orders", "first")
    batch = one.poll(0, 10)
    with pytest.raises(TopicProblem, match="nowhere"):
        one.commit(Commit(batch.token, [], [Outgoing("out", b"k", b"v", []), Outgoing("nowhere", b"k", b"v", [])], {}))
    assert texts((at, "out")) == []
    assert texts(one.poll(0, 10)) == ["first"]


def test_records_come_in_the_order_they_were_written_whatever_their_topics():
    at = broker()
    one = member(at)
    put(at, "payments", "1", partition=3)
    put(at, "orders", "2", partition=1)
    put(at, "payments", "3", partition=0)
    put(at, "orders", "4", partition=1)
    assert texts(one.poll(0, 3)) == ["1", "2", "3"]
    assert texts(one.poll(0, 3)) == ["4"]


def test_any_other_order_keeps_each_partitions_own():
    at = broker(pick=lambda group, heads: len(heads) - 1)
    one = member(at)
    for number in range(3):
        put(at, "orders", f"o{number}")
        put(at, "payments", f"p{number}")
    found = texts(one.poll(0, 10))
    assert found == ["p0", "p1", "p2", "o0", "o1", "o2"]


def test_what_is_held_back_comes_when_it_is_released_and_readers_get_it_at_once():
    at = broker()
    one = member(at)
    at.hold("orders")
    at.hold("payments", "others")
    put(at, "orders", "held")
    put(at, "payments", "free")
    assert texts(one.poll(0, 10)) == ["free"]
    assert one.heads == []
    assert texts((at, "orders")) == ["held"]
    at.release("orders")
    assert [record.value for _, record in one.heads] == [b"held"]
    assert texts(one.poll(0, 10)) == ["held"]


def test_time_stamps_come_from_the_clock():
    clock = ManualClock()
    at = broker(clock=clock)
    put(at, "orders", "now")
    assert at.records("orders")[0].timestamp_ms == int(clock.now().timestamp() * 1000)


def test_a_waiting_poll_ends_with_the_first_record():
    at = broker()
    one = member(at)
    one.poll(0, 1)
    reader = at.reader(["orders"])
    begun = time.monotonic()
    writing = threading.Thread(target=put, args=(at, "orders", "late"))
    writing.start()
    found = texts(one.poll(30, 10)), [record.value for record in reader.poll(30, 10)]
    writing.join()
    assert found == (["late"], [b"late"])
    assert time.monotonic() - begun < 20


def test_a_records_without_a_key_go_round():
    at = broker()
    at.write(Outgoing("out", None, b"v", []) for _ in range(8))
    assert sorted(record.partition for record in at.records("out")) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_partition_that_is_not_there_is_refused():
    at = broker()
    with pytest.raises(TopicProblem, match="no partition 7"):
        put(at, "orders", "v", partition=7)


def test_readers_stop_at_the_first_open_transaction_and_never_see_an_aborted_one():
    at = broker()
    one = member(at)
    put(at, "orders", "in")
    at.crash_next_commit("shop")
    with pytest.raises(Fenced):
        one.commit(outcome(one.poll(0, 10), "uncommitted"))
    put(at, "out", "behind it", partition=0)
    put(at, "out", "beside it", partition=1)
    reader = at.reader(["out"])
    assert [record.value for record in reader.poll(0, 10)] == [b"beside it"]
    assert reader.ends()["out", 0] == 0

    # Whoever takes over ends what the dead one left open.
    assert texts(member(at, "b").poll(0, 10)) == ["in"]
    assert [record.value for record in reader.poll(0, 10)] == [b"behind it"]


def test_a_reader_of_everything_is_not_behind_though_marks_take_offsets():
    at = broker()
    one = member(at)
    put(at, "orders", "in")
    batch = one.poll(0, 10)
    one.commit(outcome(batch, "out"))
    reader = at.reader(["out"])
    assert reader.ends()["out", 0] == 1
    (record,) = reader.poll(0, 10)
    assert reader.ends() == {("out", 0): record.offset + 1, ("out", 1): 0, ("out", 2): 0, ("out", 3): 0}
    # The mark took offset 1: the next record is at 2.
    put(at, "out", "next")
    assert [record.offset for record in reader.poll(0, 10)] == [2]


def test_a_reader_begins_where_it_is_told():
    at = broker()
    put(at, "orders", "0", "1", "2")
    reader = at.reader(["orders"], {("orders", 0): 2})
    assert [record.value for record in reader.poll(0, 10)] == [b"2"]


def test_compacting_keeps_offsets_and_the_last_value_of_every_key():
    at = broker()
    put(at, "shop.memory", "a1", "a2", key="a")
    put(at, "shop.memory", "b1", key="b")
    at.write([Outgoing("shop.memory", b"b", None, [], 0)])
    put(at, "shop.memory", "a3", key="a")
    before = at.restore("shop.memory", [0])
    at.compact("shop.memory")
    assert [(record.offset, record.value) for record in at.records("shop.memory")] == [(4, b"a3")]
    assert at.restore("shop.memory", [0]) == before == {0: {"a": b"a3"}}
    reader = at.reader(["shop.memory"], {("shop.memory", 0): 1})
    assert [record.offset for record in reader.poll(0, 10)] == [4]


def test_nobody_waits_for_a_tombstone_that_was_compacted_away():
    at = broker()
    put(at, "shop.memory", "a1", key="a")
    at.write([Outgoing("shop.memory", b"a", None, [], 0)])
    assert at.reader(["shop.memory"]).ends()["shop.memory", 0] == 2
    at.compact("shop.memory")
    assert at.reader(["shop.memory"]).ends()["shop.memory", 0] == 0
