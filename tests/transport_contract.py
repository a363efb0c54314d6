"""What every transport promises, run against each: as much as it claims, and the weaker promise where it claims less.

A subclass gives a `transport` fixture and says how a commit of that transport is spoiled. The tests of Kafka, of the embedded
broker and of the broker in memory are such subclasses.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from choreo.errors import Fenced, TransactionAborted
from choreo.transport import Batch, Commit, Outgoing, Record, Sender, Source, TopicSpec, Transport

PARTITIONS = 3
DEADLINE_S = 40.0
REFUSED = (TransactionAborted, Fenced)


@dataclass
class Member:
    """One source, and what it has been told so far."""

    source: Source
    owned: set[int] = field(default_factory=set)
    memory: dict[int, dict[str, bytes]] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    token: object = None

    def poll(self, timeout_s: float = 0.1, records_max: int = 1000) -> Batch:
        batch = self.source.poll(timeout_s, records_max)
        for number in batch.lost:
            self.owned.discard(number)
            self.memory.pop(number, None)
        for number, memory in batch.gained.items():
            self.owned.add(number)
            self.memory[number] = dict(memory)
        self.records += batch.records
        self.token = batch.token
        return batch

    def take(self) -> list[Record]:
        """Return what has come, and forget it."""
        records, self.records = self.records, []
        return records

    def commit(
        self, records: Sequence[Record] = (), outputs: Sequence[Outgoing] = (), changelog: Sequence[Outgoing] = ()
    ) -> None:
        self.source.commit(commit_of(self.token, records, outputs, changelog))


def commit_of(
    token: object, records: Sequence[Record], outputs: Sequence[Outgoing] = (), changelog: Sequence[Outgoing] = ()
) -> Commit:
    offsets: dict[tuple[str, int], int] = {}
    for each in records:
        offsets[each.topic, each.partition] = each.offset + 1
    return Commit(token, list(changelog), list(outputs), offsets)


def wait_until(*members: Member, fulfilled: Callable[[], bool]) -> None:
    """Poll members in turn until something holds; fail where it does not in time."""
    deadline = time.monotonic() + DEADLINE_S
    while not fulfilled():
        assert time.monotonic() < deadline, [(each.owned, len(each.records)) for each in members]
        for each in members:
            each.poll()


class World:
    """Topics of one test, and everything opened on them; all of it is closed afterwards."""

    def __init__(self, transport: Transport, prefix: str, delivery: str, replication: int = 1) -> None:
        self.transport = transport
        self.delivery = delivery
        self.inputs, self.outputs, self.memories = f"{prefix}in", f"{prefix}out", f"{prefix}memory"
        self.group = f"{prefix}group"
        self._instances = itertools.count()
        self._members: list[Member] = []
        compact = {"cleanup.policy": "compact"}
        transport.create(
            [
                TopicSpec(self.inputs, PARTITIONS, replication),
                TopicSpec(self.outputs, PARTITIONS, replication),
                TopicSpec(self.memories, PARTITIONS, replication, compact),
            ]
        )
        # Kafka's client takes a second to begin: meanwhile members join.
        self._first_sender: Sender | None = transport.sender()

    def member(self, instance: str = "") -> Member:
        instance = instance or f"{self.group}-{next(self._instances)}"
        source = self.transport.source(
            group=self.group,
            topics=[self.inputs],
            memory_topic=self.memories,
            delivery=self.delivery,
            instance=instance,
        )
        self._members.append(Member(source))
        return self._members[-1]

    def owner(self) -> Member:
        """Return a member that owns everything."""
        member = self.member()
        wait_until(member, fulfilled=lambda: len(member.owned) == PARTITIONS)
        return member

    def close(self) -> None:
        for each in self._members:
            each.source.close()
        if self._first_sender is not None:
            self._first_sender.close()

    def close_member(self, member: Member) -> None:
        self._members.remove(member)
        member.source.close()

    def send(self, *outgoings: Outgoing) -> None:
        sender, self._first_sender = self._first_sender or self.transport.sender(), None
        told: list[Exception | None] = []
        for each in outgoings:
            sender.enqueue(each, told.append)
        assert sender.flush(DEADLINE_S) == 0
        sender.close()
        assert told == [None] * len(outgoings)

    def send_numbers(self, count: int, start: int = 0) -> None:
        """Send numbered records, evenly over the partitions."""
        self.send(
            *(Outgoing(self.inputs, b"k", str(n).encode(), [], n % PARTITIONS) for n in range(start, start + count))
        )

    def read(self, topic: str) -> list[Record]:
        """Return all that a reader of a topic is given, until it is nothing behind."""
        reader = self.transport.reader([topic])
        records: list[Record] = []
        read = dict.fromkeys(((topic, number) for number in range(PARTITIONS)), 0)
        deadline = time.monotonic() + DEADLINE_S
        while True:
            found = reader.poll(0.1, 1000)
            for each in found:
                read[each.topic, each.partition] = each.offset + 1
            records += found
            if not found and all(read[place] >= end for place, end in reader.ends().items()):
                break
            assert time.monotonic() < deadline, (topic, read, reader.ends())
        reader.close()
        return records

    def values(self, topic: str) -> list[bytes | None]:
        return sorted((each.value for each in self.read(topic)), key=lambda value: value or b"")

    def output(self, value: bytes, partition: int = 0) -> Outgoing:
        return Outgoing(self.outputs, b"k", value, [], partition)

    def remember(self, saga: str, value: bytes | None, partition: int = 0) -> Outgoing:
        return Outgoing(self.memories, saga.encode(), value, [], partition)


class TransportContract:
    """The promises."""

    @pytest.fixture
    def transport(self) -> Transport:
        raise NotImplementedError

    @pytest.fixture(params=["exactly_once", "at_least_once"])
    def delivery(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def world(self, transport: Transport, prefix: str, delivery: str) -> Iterator[World]:
        world = World(transport, prefix, delivery)
        yield world
        world.close()

    def spoil(self, world: World, commit: Commit) -> Commit:
        """Return a commit that the brokers will refuse, or see to it that they refuse this one."""
        raise NotImplementedError

    def commit_at_last(self, member: Member, output: Outgoing, attempts: int = 3) -> None:
        count = len(member.records)
        for _ in range(attempts):
            wait_until(member, fulfilled=lambda: len(member.records) >= count)
            try:
                member.commit(member.take(), [output])
            except TransactionAborted:
                continue
            return
        raise AssertionError(f"refused {attempts} times")

    def exact(self, world: World) -> bool:
        return world.delivery == "exactly_once" and world.transport.guarantees.exactly_once

    # Topics.

    def test_topics_are_created_once_and_described(self, transport: Transport, prefix: str):
        name = f"{prefix}topic"
        assert transport.describe([name]) == {}
        transport.create([TopicSpec(name, 2, 1, {"cleanup.policy": "compact"})])
        transport.create([TopicSpec(name, 5)])
        found = transport.describe([name, f"{prefix}other"])
        assert list(found) == [name]
        assert (found[name].name, found[name].partitions) == (name, 2)
        assert found[name].config["cleanup.policy"] == "compact"
        assert name in transport.describe()

    # Records.

    def test_a_record_comes_as_it_went(self, world: World):
        headers = [("a", b"1"), ("a", b"2"), ("empty", b""), ("bytes", bytes(range(256)))]
        before_ms = int(time.time() * 1000) - 1
        world.send(
            Outgoing(world.inputs, b"\x00key", b"\xff" * 1000, headers, 1),
            Outgoing(world.inputs, None, b"no key", [], 2),
            Outgoing(world.inputs, b"no value", None, [], 2),
        )
        member = world.member()
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        first, second, third = sorted(member.records, key=lambda each: (each.partition, each.offset))
        assert first[:6] == (world.inputs, 1, 0, b"\x00key", b"\xff" * 1000, headers)
        assert before_ms <= first.timestamp_ms <= time.time() * 1000 + 1
        assert second[:6] == (world.inputs, 2, 0, None, b"no key", [])
        assert third[:6] == (world.inputs, 2, 1, b"no value", None, [])

    def test_a_key_goes_where_java_would_put_it(self, world: World):
        world.send(*(Outgoing(world.inputs, key, key, []) for key in (b"21", b"foobar", b"a-little-bit-long-string")))
        # Java's own test vectors of murmur2, made positive and divided.
        hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
        found = {each.value: each.partition for each in world.read(world.inputs)}
        assert found == {key: (number & 0x7FFFFFFF) % PARTITIONS for key, number in hashes.items()}

    def test_a_partition_keeps_its_order(self, world: World):
        world.send_numbers(300)
        member = world.member()
        wait_until(member, fulfilled=lambda: len(member.records) >= 300)
        for number in range(PARTITIONS):
            values = [int(each.value or b"") for each in member.records if each.partition == number]
            assert values == list(range(number, 300, PARTITIONS))
            assert [each.offset for each in member.records if each.partition == number] == list(range(100))

    def test_a_poll_brings_no_more_than_asked_for(self, world: World):
        world.send_numbers(30)
        member = world.member()
        deadline = time.monotonic() + DEADLINE_S
        while len(member.records) < 30:
            assert len(member.poll(0.1, records_max=7).records) <= 7
            assert time.monotonic() < deadline
        assert len(member.records) == 30

    # Commits.

    def test_a_commit_takes_effect_whole(self, world: World):
        world.send_numbers(6)
        member = world.owner()
        wait_until(member, fulfilled=lambda: len(member.records) == 6)
        member.commit(member.take(), [world.output(b"out")], [world.remember("s", b"memory", 1)])
        assert world.values(world.outputs) == [b"out"]
        assert world.values(world.memories) == [b"memory"]

    def test_offsets_and_memory_survive_reopening(self, world: World):
        world.send_numbers(6)
        member = world.member("same")
        wait_until(member, fulfilled=lambda: len(member.records) == 6)
        kept, gone = world.remember("kept", b"1", 2), world.remember("gone", b"1", 2)
        member.commit(member.take(), [], [kept, gone, world.remember("elsewhere", b"3", 0)])
        member.commit([], [], [world.remember("gone", None, 2), world.remember("kept", b"2", 2)])
        world.close_member(member)
        world.send_numbers(3, start=6)

        again = world.member("same")
        wait_until(again, fulfilled=lambda: len(again.records) == 3 and len(again.owned) == PARTITIONS)
        assert sorted(each.value or b"" for each in again.records) == [b"6", b"7", b"8"]
        assert again.memory == {0: {"elsewhere": b"3"}, 1: {}, 2: {"kept": b"2"}}

    def test_what_was_not_committed_comes_again_to_whoever_is_next(self, world: World):
        world.send_numbers(6)
        member = world.member("same")
        wait_until(member, fulfilled=lambda: len(member.records) == 6)
        first = [each for each in member.take() if each.partition == 0]
        member.commit(first)
        world.close_member(member)
        again = world.member("same")
        wait_until(again, fulfilled=lambda: len(again.records) == 4)
        assert {each.partition for each in again.records} == {1, 2}

    def test_a_refused_commit_leaves_nothing_and_its_records_come_again(self, world: World):
        world.send_numbers(9)
        member = world.owner()
        wait_until(member, fulfilled=lambda: len(member.records) == 9)
        records = member.take()
        commit = commit_of(member.token, records, [world.output(b"never")], [world.remember("s", b"1")])
        with pytest.raises(TransactionAborted):
            member.source.commit(self.spoil(world, commit))

        wait_until(member, fulfilled=lambda: len(member.records) == 9)
        again = member.take()
        assert sorted(each[:2] + each[2:5] for each in again) == sorted(each[:2] + each[2:5] for each in records)
        member.commit(again, [world.output(b"once")], [world.remember("s", b"2")])
        outputs = world.values(world.outputs)
        memories = world.values(world.memories)
        if self.exact(world):
            assert (outputs, memories) == ([b"once"], [b"2"])
        else:
            # Memory is acknowledged before the outputs are published: what is remembered is never less than what is out.
            assert outputs[-1:] == [b"once"]
            assert memories[-1:] == [b"2"]

    def test_what_is_staged_takes_effect_with_the_commit_and_once(self, world: World):
        world.send_numbers(3)
        member = world.owner()
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        records = member.take()
        outputs = [world.output(b"first"), world.output(b"second")]
        rest = member.source.stage(commit_of(member.token, records, outputs, [world.remember("s", b"1", 0)]))
        assert world.values(world.outputs) == world.values(world.memories) == []
        member.source.commit(rest)
        assert world.values(world.outputs) == [b"first", b"second"]
        assert world.values(world.memories) == [b"1"]
        assert member.poll(0.5).records == []

    def test_what_cannot_be_staged_is_refused_by_the_commit(self, world: World):
        world.send_numbers(3)
        member = world.owner()
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        commit = self.spoil(world, commit_of(member.token, member.take(), [world.output(b"never")]))
        rest = member.source.stage(commit)
        with pytest.raises(TransactionAborted):
            member.source.commit(rest)
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        member.source.commit(member.source.stage(commit_of(member.token, member.take(), [world.output(b"once")])))
        assert world.values(world.outputs)[-1:] == [b"once"]
        assert not self.exact(world) or world.values(world.outputs) == [b"once"]

    def test_what_is_staged_of_partitions_that_change_hands_never_was(self, world: World):
        world.send_numbers(3)
        member = world.owner()
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        rest = member.source.stage(commit_of(member.token, member.take(), [world.output(b"never")]))
        other = world.member()
        wait_until(member, other, fulfilled=lambda: 0 < len(member.owned) < PARTITIONS)
        with pytest.raises(REFUSED):
            member.source.commit(rest)
        member.poll()
        member.source.commit(member.source.stage(commit_of(member.token, [], [world.output(b"once")])))
        assert world.values(world.outputs) == [b"once"]

    def test_what_has_come_already_is_fetched_behind_what_was_polled(self, world: World):
        member = world.owner()
        world.send_numbers(6)
        deadline = time.monotonic() + DEADLINE_S
        while not member.records:
            assert time.monotonic() < deadline
            member.poll(records_max=1)
        [polled] = member.take()
        while (batch := member.source.fetch(1000)) is None:
            assert time.monotonic() < deadline
        assert (batch.gained, batch.lost) == ({}, frozenset())
        assert polled[:3] not in {each[:3] for each in batch.records}
        member.commit([polled], [world.output(b"polled")])
        member.source.commit(commit_of(batch.token, batch.records, [world.output(b"fetched")]))
        assert world.values(world.outputs) == [b"fetched", b"polled"]
        wait_until(member, fulfilled=lambda: len(member.records) == 5 - len(batch.records))
        assert not {each[:3] for each in member.records} & {polled[:3], *(each[:3] for each in batch.records)}

    def test_what_is_staged_and_not_committed_never_was(self, world: World):
        world.send_numbers(3)
        member = world.owner()
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        records = member.take()
        rest = member.source.stage(commit_of(member.token, records, [world.output(b"never")]))
        with pytest.raises(TransactionAborted):
            member.source.commit(self.spoil(world, rest))
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        member.source.stage(commit_of(member.token, member.take(), [world.output(b"never")]))
        world.close_member(member)
        successor = world.owner()
        wait_until(successor, fulfilled=lambda: len(successor.records) == 3)
        successor.commit(successor.take(), [world.output(b"once")])
        outputs = world.values(world.outputs)
        # Without transactions nothing is staged, and the commit that was refused had begun.
        assert outputs == [b"once"] if self.exact(world) else outputs[-1:] == [b"once"]

    def test_after_a_refused_commit_records_still_come_in_order(self, world: World):
        world.send_numbers(30)
        member = world.owner()
        wait_until(member, fulfilled=lambda: len(member.records) >= 15)
        part = member.take()
        with pytest.raises(TransactionAborted):
            member.source.commit(self.spoil(world, commit_of(member.token, part, [world.output(b"never")])))
        wait_until(member, fulfilled=lambda: len(member.records) >= 30)
        for number in range(PARTITIONS):
            offsets = [each.offset for each in member.records if each.partition == number]
            assert offsets == list(range(10))

    def test_memory_is_written_before_outputs(self, world: World):
        """Rule 10: without transactions a refused output must leave a memory that knows of it."""
        world.send_numbers(3)
        member = world.owner()
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        member.memory.clear()
        commit = commit_of(member.token, member.take(), [world.output(b"never")], [world.remember("s", b"1")])
        with pytest.raises(TransactionAborted):
            member.source.commit(self.spoil(world, commit))
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        kept = world.values(world.memories)
        if self.exact(world):
            assert kept == []
        elif kept:
            assert kept == [b"1"]
            # What may have been written is what the partitions are given to their owner again with.
            assert member.memory[0] == {"s": b"1"}

    # Ownership.

    def test_two_members_share_partitions_and_hand_memory_over(self, world: World):
        first = world.owner()
        first.commit([], [], [world.remember(f"saga {n}", b"by the first", n) for n in range(PARTITIONS)])
        second = world.member()
        wait_until(
            first, second, fulfilled=lambda: bool(second.owned) and len(first.owned) + len(second.owned) == PARTITIONS
        )
        assert not first.owned & second.owned
        assert second.memory == {n: {f"saga {n}": b"by the first"} for n in second.owned}

        given = min(second.owned)
        second.commit([], [], [world.remember(f"saga {given}", b"by the second", given)])
        world.close_member(second)
        wait_until(first, fulfilled=lambda: len(first.owned) == PARTITIONS)
        assert first.memory[given] == {f"saga {given}": b"by the second"}

    def test_every_record_reaches_one_of_two_members(self, world: World):
        first, second = world.owner(), world.member()
        wait_until(first, second, fulfilled=lambda: bool(second.owned) and len(first.owned) < PARTITIONS)
        world.send_numbers(60)
        wait_until(first, second, fulfilled=lambda: len(first.records) + len(second.records) >= 60)
        found = [*first.records, *second.records]
        assert sorted(int(each.value or b"") for each in found) == list(range(60))
        assert {each.partition for each in first.records} <= first.owned
        assert {each.partition for each in second.records} <= second.owned

    def test_r13_what_was_read_before_a_rebalance_publishes_nothing_after_it(self, world: World):
        world.send_numbers(6)
        first = world.owner()
        wait_until(first, fulfilled=lambda: len(first.records) == 6)
        stale = commit_of(first.token, first.take(), [world.output(b"zombie")], [world.remember("s", b"zombie")])
        second = world.member()
        wait_until(first, second, fulfilled=lambda: bool(second.owned) and len(first.owned) < PARTITIONS)
        if self.exact(world):
            with pytest.raises(REFUSED):
                first.source.commit(stale)
            assert world.values(world.outputs) == []
            assert world.values(world.memories) == []
        # Whoever publishes twice, nobody loses anything: the new owner reads it all.
        expected = {each for each in range(6) if each % PARTITIONS in second.owned}
        wait_until(second, fulfilled=lambda: {int(each.value or b"") for each in second.records} >= expected)

    def test_r13_who_is_replaced_under_its_own_name_publishes_nothing(self, world: World):
        world.send_numbers(6)
        first = world.member("same")
        wait_until(first, fulfilled=lambda: len(first.records) == 6)
        stale = commit_of(first.token, first.take(), [world.output(b"zombie")])
        second = world.member("same")
        wait_until(second, fulfilled=lambda: len(second.records) == 6)
        if self.exact(world):
            with pytest.raises(REFUSED):
                first.source.commit(stale)
            assert world.values(world.outputs) == []
            # The zombie's last gasp may cost its successor a batch, which then comes again.
            self.commit_at_last(second, world.output(b"once"))
            assert world.values(world.outputs) == [b"once"]
        else:
            second.commit(second.take(), [world.output(b"once")])
            assert b"once" in world.values(world.outputs)

    # From outside.

    def test_a_sender_says_when_the_brokers_have_it(self, world: World):
        sender = world.transport.sender()
        told: list[Exception | None] = []
        for number in range(50):
            sender.enqueue(world.output(str(number).encode(), number % PARTITIONS), told.append)
        assert sender.flush(DEADLINE_S) == 0
        assert told == [None] * 50
        sender.close()
        sender.close()
        assert len(world.read(world.outputs)) == 50

    def test_closing_a_sender_settles_everything(self, world: World):
        sender = world.transport.sender()
        told: list[Exception | None] = []
        for number in range(50):
            sender.enqueue(world.output(b"x", number % PARTITIONS), told.append)
        sender.close()
        assert told == [None] * 50

    # Readers.

    def test_a_reader_that_has_read_all_is_nothing_behind(self, world: World):
        world.send_numbers(5)
        member = world.owner()
        wait_until(member, fulfilled=lambda: len(member.records) == 5)
        member.commit(member.take(), [world.output(b"1", 0), world.output(b"2", 1)])
        # `read` ends only when the reader's ends say that nothing is left; transactions' marks are no records.
        assert world.values(world.outputs) == [b"1", b"2"]
        assert world.read(world.memories) == []

    def test_a_reader_begins_where_it_is_told(self, world: World):
        world.send_numbers(9)
        starts = {(world.inputs, 0): 2, (world.inputs, 1): 3}
        reader = world.transport.reader([world.inputs, f"{world.inputs}-missing"], starts)
        ends = reader.ends()
        assert ends == {(world.inputs, number): 3 for number in range(PARTITIONS)}
        records: list[Record] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(records) < 4:
            records += reader.poll(0.1, 2)
            assert time.monotonic() < deadline
        reader.close()
        assert sorted((each.partition, each.offset) for each in records) == [(0, 2), (2, 0), (2, 1), (2, 2)]

    def test_nothing_uncommitted_is_read(self, world: World):
        world.send_numbers(3)
        member = world.owner()
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        commit = commit_of(member.token, member.take(), [world.output(b"refused", 0)])
        with pytest.raises(TransactionAborted):
            member.source.commit(self.spoil(world, commit))
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        member.commit(member.take(), [world.output(b"taken", 0)])
        seen = world.values(world.outputs)
        assert b"taken" in seen
        if world.transport.guarantees.isolation and self.exact(world):
            assert b"refused" not in seen
