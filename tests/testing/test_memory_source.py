"""Groups, memory, fences, and everything that may go wrong with a commit."""

import pytest

from choreo.errors import Fenced, TransactionAborted
from choreo.testing.memory_transport import Reached
from choreo.testing.memory_transport.consumer_group import ConsumerGroup
from choreo.transport import Commit, Outgoing
from tests.testing.brokers import broker, member, outcome, put, texts


@pytest.mark.parametrize(
    ("members", "shares"),
    [
        ("a", [{0, 1, 2, 3, 4, 5, 6}]),
        ("ab", [{0, 1, 2, 3}, {4, 5, 6}]),
        ("abc", [{0, 1, 2}, {3, 4}, {5, 6}]),
        ("abcdefgh", [*({number} for number in range(7)), set()]),
    ],
)
def test_partitions_are_shared_out_in_ranges(members, shares):
    group = ConsumerGroup()
    for each in reversed(members):
        group.join(each, each)
    assert [group.share(each, 7) for each in members] == shares


def test_r04_a_member_has_the_same_numbers_of_every_topic():
    at = broker()
    one, two = member(at, "a"), member(at, "b")
    for number in range(4):
        put(at, "orders", f"o{number}", partition=number)
        put(at, "payments", f"p{number}", partition=number)
    assert set(one.poll(0, 1).gained) == {0, 1}
    assert set(two.poll(0, 1).gained) == {2, 3}
    assert {record.partition for record in one.poll(0, 99).records} == {0, 1}
    assert {record.partition for record in two.poll(0, 99).records} == {2, 3}


def test_a_partition_changes_hands_once_its_owner_polls():
    at = broker()
    one = member(at, "b")
    put(at, "orders", "in", partition=1)
    batch = one.poll(0, 10)
    assert set(batch.gained) == {0, 1, 2, 3}

    two = member(at, "a")
    assert two.poll(0, 10).gained == {}
    # The batch in flight is still its own, and commits.
    one.commit(outcome(batch, "out"))
    batch = one.poll(0, 10)
    assert (batch.lost, batch.gained, one.owned) == ({0, 1}, {}, {2, 3})
    batch = two.poll(0, 10)
    assert set(batch.gained) == {0, 1}
    assert texts(batch) == []


def test_what_a_leaver_had_goes_to_the_others_from_where_it_had_committed():
    at = broker()
    one = member(at)
    put(at, "orders", "done", "open")
    one.commit(outcome(one.poll(0, 1), "out", memory="remembered"))
    assert texts(one.poll(0, 1)) == ["open"]
    one.close()
    one.close()
    batch = member(at, "b").poll(0, 10)
    assert texts(batch) == ["open"]
    assert batch.gained[0] == {"s": b"remembered"}


def test_memory_is_the_last_value_of_every_key_and_a_tombstone_leaves_none():
    at = broker()
    put(at, "shop.memory", "old", "new", key="kept")
    put(at, "shop.memory", "gone", key="forgotten")
    at.write([Outgoing("shop.memory", b"forgotten", None, [], 0)])
    put(at, "shop.memory", "other", key="elsewhere", partition=3)
    gained = member(at).poll(0, 10).gained
    assert gained == {0: {"kept": b"new"}, 1: {}, 2: {}, 3: {"elsewhere": b"other"}}


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_r10_outputs_memory_and_offsets_are_committed_together(delivery):
    at = broker()
    one = member(at, delivery=delivery)
    put(at, "orders", "in")
    batch = one.poll(0, 10)
    assert texts((at, "out")) == []
    one.commit(outcome(batch, "first", "second", memory="m"))
    assert texts((at, "out")) == ["first", "second"]
    assert at.restore("shop.memory", [0]) == {0: {"s": b"m"}}
    assert at.group("shop").committed == {("orders", 0): 1}
    assert texts(one.poll(0, 10)) == []


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_r10_nothing_of_an_aborted_commit_happens_and_its_records_come_again(delivery):
    at = broker()
    one = member(at, delivery=delivery)
    put(at, "orders", "in")
    batch = one.poll(0, 10)
    at.abort_next_commit("shop")
    with pytest.raises(TransactionAborted):
        one.commit(outcome(batch, "out", memory="m"))
    assert (texts((at, "out")), at.restore("shop.memory", [0])) == ([], {0: {}})

    again = one.poll(0, 10)
    assert (texts(again), again.gained) == (["in"], {})
    one.commit(outcome(again, "out", memory="m"))
    assert texts((at, "out")) == ["out"]


def test_after_a_commit_without_an_answer_memory_is_restored_and_nothing_comes_again():
    at = broker()
    one = member(at)
    put(at, "orders", "in")
    at.lose_commit_response("shop")
    with pytest.raises(TransactionAborted):
        one.commit(outcome(one.poll(0, 10), "out", memory="m"))
    assert texts((at, "out")) == ["out"]
    batch = one.poll(0, 10)
    assert texts(batch) == []
    assert set(batch.gained) == {0, 1, 2, 3}
    assert batch.gained[0] == {"s": b"m"}
    assert one.poll(0, 10).gained == {}


@pytest.mark.parametrize(
    ("reached", "remembered", "published"),
    [(Reached.MEMORY, {"s": b"m"}, []), (Reached.OUTPUTS, {"s": b"m"}, ["out"])],
)
def test_r10_at_least_once_memory_comes_before_the_outputs(reached, remembered, published):
    at = broker()
    one = member(at, delivery="at_least_once")
    put(at, "orders", "in")
    at.crash_next_commit("shop", reached)
    with pytest.raises(Fenced):
        one.commit(outcome(one.poll(0, 10), "out", memory="m"))
    assert texts((at, "out")) == published
    batch = member(at, "b").poll(0, 10)
    assert texts(batch) == ["in"]
    assert batch.gained[0] == remembered


@pytest.mark.parametrize("reached", [Reached.MEMORY, Reached.OUTPUTS])
def test_r10_a_crash_in_the_middle_of_a_transaction_leaves_nothing(reached):
    at = broker()
    one = member(at)
    put(at, "orders", "in")
    at.crash_next_commit("shop", reached)
    with pytest.raises(Fenced):
        one.commit(outcome(one.poll(0, 10), "out", memory="m"))
    batch = member(at, "b").poll(0, 10)
    assert (texts(batch), batch.gained[0]) == (["in"], {})
    assert texts((at, "out")) == []


def test_r13_a_source_that_was_taken_for_dead_publishes_nothing_and_joins_again():
    at = broker()
    zombie = member(at, "a")
    put(at, "orders", "in")
    batch = zombie.poll(0, 10)
    at.expire(zombie)
    heir = member(at, "b")
    assert texts(heir.poll(0, 10)) == ["in"]
    with pytest.raises(Fenced):
        zombie.commit(outcome(batch, "twice"))
    assert texts((at, "out")) == []

    batch = zombie.poll(0, 10)
    assert (batch.lost, batch.gained) == ({0, 1, 2, 3}, {})
    assert heir.poll(0, 10).lost == {0, 1}
    assert set(zombie.poll(0, 10).gained) == {0, 1}


def test_r13_a_token_from_before_a_rebalance_is_stale():
    at = broker()
    one = member(at, "a")
    put(at, "orders", "in", partition=3)
    stale = one.poll(0, 10)
    member(at, "b")
    assert one.poll(0, 10).lost == {2, 3}
    with pytest.raises(Fenced):
        one.commit(outcome(stale, "out"))
    with pytest.raises(Fenced):
        one.commit(outcome(stale, "out", offsets={}))
    assert texts((at, "out")) == []


def test_r13_an_equal_instance_takes_over_and_the_one_before_is_fenced():
    at = broker()
    before = member(at, "a")
    put(at, "orders", "in")
    batch = before.poll(0, 10)
    after = member(at, "a")
    with pytest.raises(Fenced, match="taken over"):
        before.commit(outcome(batch, "twice"))
    with pytest.raises(Fenced):
        before.poll(0, 10)
    assert texts(after.poll(0, 10)) == ["in"]
    before.close()
    assert texts(after.poll(0, 10)) == []
    put(at, "orders", "still mine")
    assert texts(after.poll(0, 10)) == ["still mine"]


def test_r13_a_zombie_whose_instance_was_taken_meanwhile_stays_out():
    at = broker()
    zombie = member(at, "a")
    zombie.poll(0, 10)
    at.expire(zombie)
    member(at, "a")
    with pytest.raises(Fenced, match="taken over"):
        zombie.poll(0, 10)


def test_a_source_that_was_killed_leaves_its_partitions_to_others():
    at = broker()
    one = member(at, "a")
    two = member(at, "b")
    put(at, "orders", "in")
    assert texts(one.poll(0, 10)) == ["in"]
    two.poll(0, 10)
    at.crash(one)
    with pytest.raises(Fenced):
        one.poll(0, 10)
    batch = two.poll(0, 10)
    assert set(batch.gained) == {0, 1}
    assert texts(batch) == ["in"]


def test_a_commit_may_be_of_memory_alone():
    at = broker()
    one = member(at)
    batch = one.poll(0, 10)
    one.commit(Commit(batch.token, [Outgoing("shop.memory", b"s", None, [], 0)], [], {("orders", 0): 0}))
    assert [record.value for record in at.records("shop.memory")] == [None]


def test_two_polls_before_a_commit_go_on_reading():
    at = broker()
    one = member(at)
    put(at, "orders", "0", "1")
    assert texts(one.poll(0, 1)) == ["0"]
    second = one.poll(0, 1)
    assert texts(second) == ["1"]
    one.commit(outcome(second))
    assert at.group("shop").committed == {("orders", 0): 2}


def test_a_delivery_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="at_least_once"):
        member(broker(), delivery="at_most_once")


def test_closing_the_broker_closes_its_sources_and_keeps_what_is_stored():
    at = broker()
    one = member(at)
    put(at, "orders", "in")
    at.close()
    with pytest.raises(Fenced, match="closed"):
        one.poll(0, 10)
    assert texts((at, "orders")) == ["in"]
