"""A source on brokers that are killed under it: nothing lost, nothing doubled. And the test of this test."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from choreo.errors import BrokerUnavailable, Fenced, TopicProblem, TransactionAborted
from choreo.kafka import KafkaTransport
from choreo.kafka.assignment import Assignment
from choreo.kafka.source import REFUSALS_MAX
from choreo.transport import Outgoing, TopicSpec
from tests.brokers import KafkaCluster, NoKafka, free_port, wait_in_sync, without_kafka
from tests.effort import part
from tests.transport_contract import Member, World, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240), pytest.mark.xdist_group("brokers")]
QUICK = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}
TOO_LARGE = b"x" * 2_000_000
KILLS = part(2, of=3)
NAME = "the-one"
RECORDS = 400


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """Brokers of this module's own, since they are killed; three, for a broker alone sometimes forgets what it decided."""
    try:
        cluster = KafkaCluster(3)
    except NoKafka as error:
        without_kafka(f"NO KAFKA THAT CAN BE KILLED: {error}")
    with cluster:
        yield cluster


def put_through(member: Member, world: World, total: int, began: threading.Event) -> Member:
    """Copy inputs to outputs, remembering each, until `total` have been committed; say when the first few are.

    A static member whose broker was killed while it joined is sometimes told that it was replaced, though nobody did. It
    leaves, as it must, and is started again under its name, as a supervisor does; whoever it is then is returned.
    """
    done: set[tuple[int, int]] = set()

    deadline = time.monotonic() + 120
    while len(done) < total:
        assert time.monotonic() < deadline, len(done)
        try:
            member.poll(0.1, 20)
        except Fenced:
            world.close_member(member)
            member = world.member(NAME)
            continue
        if records := member.take():
            outputs = [world.output(each.value or b"", each.partition) for each in records]
            changelog = [world.remember((each.value or b"").decode(), b"1", each.partition) for each in records]
            try:
                member.commit(records, outputs, changelog)
            except TransactionAborted:
                continue
            except Fenced:
                world.close_member(member)
                member = world.member(NAME)
                continue
            done.update((each.partition, each.offset) for each in records)
            began.set()
    return member


def test_a_broker_that_is_killed_under_commits_costs_nothing(cluster: KafkaCluster, prefix: str):
    transport = KafkaTransport({"bootstrap.servers": cluster.bootstrap_servers, **QUICK})
    world = World(transport, prefix, "exactly_once", replication=len(cluster.brokers))
    member = world.member(NAME)
    with ThreadPoolExecutor(1) as copying:
        for kill in range(KILLS):
            world.send_numbers(RECORDS, start=kill * RECORDS)
            began = threading.Event()
            copied = copying.submit(put_through, member, world, RECORDS, began)
            assert began.wait(60)
            # From this thread, which lasts: a broker dies with the thread that started it.
            broker = cluster.brokers[kill % len(cluster.brokers)]
            broker.kill()
            broker.start()
            member = copied.result()
            wait_in_sync(cluster.bootstrap_servers)
    world.close()
    outputs = Counter(each.value for each in world.read(world.outputs))
    assert outputs == Counter(str(number).encode() for number in range(KILLS * RECORDS))
    restored = transport.restore(world.memories, range(3))
    assert set().union(*restored.values()) == {str(number) for number in range(KILLS * RECORDS)}
    transport.close()


def test_the_loop_without_its_seek_back_loses_records(kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch):
    """What the test above would say of a careless loop."""
    monkeypatch.setattr(Assignment, "rewind", lambda self, *, restoring: None)
    transport = KafkaTransport({"bootstrap.servers": kafka, **QUICK})
    world = World(transport, prefix, "exactly_once")
    member = world.owner()
    world.send_numbers(6)
    wait_until(member, fulfilled=lambda: len(member.records) == 6)
    lost = member.take()
    with pytest.raises(TransactionAborted):
        member.commit(lost, [world.output(TOO_LARGE)])
    world.send_numbers(3, start=6)
    wait_until(member, fulfilled=lambda: len(member.records) >= 3)
    assert sorted(each.value or b"" for each in member.records) == [b"6", b"7", b"8"]
    world.close()
    transport.close()


def test_what_can_never_be_written_stops_the_source_in_the_end(kafka: str, prefix: str):
    transport = KafkaTransport({"bootstrap.servers": kafka, **QUICK})
    world = World(transport, prefix, "exactly_once")
    member = world.owner()
    world.send_numbers(1)
    aborted: list[TransactionAborted] = []

    def commit_again_and_again() -> None:
        # Only refusals in a row count: a coordinator that is slow in between begins the count anew.
        while len(aborted) < 3 * REFUSALS_MAX:
            wait_until(member, fulfilled=lambda: len(member.records) == 1)
            try:
                member.commit(member.take(), [world.output(TOO_LARGE)])
            except TransactionAborted as error:
                aborted.append(error)

    with pytest.raises(TopicProblem, match=r"max\.message\.bytes"):
        commit_again_and_again()
    assert len(aborted) >= REFUSALS_MAX - 1
    world.close()
    transport.close()


def test_r39_partitions_that_do_not_fit_together_are_refused(kafka: str, prefix: str):
    transport = KafkaTransport({"bootstrap.servers": kafka, **QUICK})
    transport.create([TopicSpec(f"{prefix}a", 3), TopicSpec(f"{prefix}b", 2), TopicSpec(f"{prefix}memory", 3)])
    source = transport.source(
        group=f"{prefix}group",
        topics=[f"{prefix}a", f"{prefix}b"],
        memory_topic=f"{prefix}memory",
        delivery="exactly_once",
        instance=f"{prefix}0",
    )
    with pytest.raises(TopicProblem, match="one partition count"):
        wait_until(Member(source), fulfilled=lambda: False)
    source.close()
    transport.close()


@pytest.mark.usefixtures("impatient")
def test_a_wrong_port_is_told_with_the_clients_own_reason():
    transport = KafkaTransport({"bootstrap.servers": f"127.0.0.1:{free_port()}"})
    with pytest.raises(BrokerUnavailable, match=r"Connection refused.*--bootstrap-server"):
        transport.describe()
    transport.close()


def test_a_callback_that_raises_takes_no_other_acknowledgement_with_it(kafka: str, prefix: str):
    transport = KafkaTransport({"bootstrap.servers": kafka})
    transport.create([TopicSpec(f"{prefix}topic", 1)])
    sender = transport.sender()
    record = Outgoing(f"{prefix}topic", b"k", b"v", [])
    acknowledged = threading.Event()

    def careless(error: Exception | None) -> None:
        raise RuntimeError("of the caller's own")

    sender.enqueue(record, careless)
    sender.enqueue(record, lambda error: acknowledged.set())
    assert acknowledged.wait(30)
    sender.close()
    transport.close()
