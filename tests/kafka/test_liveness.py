"""Clients that have lost all brokers, because one told them that there are none, go on with new ones."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import cast

import pytest
from confluent_kafka import Consumer

from choreo.errors import Fenced, TransactionAborted
from choreo.kafka import KafkaTransport, liveness
from choreo.kafka.liveness import leave
from choreo.transport import Commit
from tests.brokers import KafkaCluster, NoKafka, free_ports, without_kafka
from tests.kafka.blinder import Blinder
from tests.transport_contract import PARTITIONS, Member, World, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300), pytest.mark.xdist_group("brokers")]
BROKERS = 3
NAME = "the-one"
LOST = "a new one takes its place"
QUICK = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}
AWAY_S = 1.0
WELL_S = 1.0
FOUND_S = 45.0
TRIES_MAX = 20
"""A client loses its brokers about every other time."""


@pytest.fixture(scope="module")
def blinders() -> Iterator[Sequence[Blinder]]:
    """Three brokers behind proxies: with one alone, the client finds it again."""
    with ExitStack() as stack:
        found = [stack.enter_context(closing(Blinder(port))) for port in free_ports(BROKERS)]
        try:
            cluster = KafkaCluster(BROKERS, told=[each.port for each in found])
        except NoKafka as error:
            without_kafka(f"NO KAFKA TO BE LOST: {error}")
        for each, broker in zip(found, cluster.brokers, strict=True):
            each.broker_port = broker.port
        stack.enter_context(cluster)
        yield found


@pytest.fixture
def transport(blinders: Sequence[Blinder], monkeypatch: pytest.MonkeyPatch) -> KafkaTransport:
    monkeypatch.setattr(liveness, "QUIET_S", WELL_S)
    return KafkaTransport({"bootstrap.servers": servers(blinders), **QUICK})


def servers(blinders: Sequence[Blinder]) -> str:
    return ",".join(f"127.0.0.1:{each.port}" for each in blinders)


def blind(blinders: Sequence[Blinder], poll: Callable[[], object]) -> None:
    """Let each broker be away in turn while the others say that there are none, as after a machine has slept."""
    for each in blinders:
        each.blinding = True
    for each in blinders:
        each.away = True
        each.cut()
        _poll_for(AWAY_S, poll)
        each.away = False
    for each in blinders:
        each.blinding = False


def _poll_for(seconds: float, poll: Callable[[], object]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        poll()


def put_through(world: World, member: Member, numbers: range) -> tuple[Member, object]:
    """Send numbers and remember each; return who committed them at last, and the token of the first poll that had any.

    What a broker's death makes fail comes again; who is told that it was replaced is started again, as by a supervisor.
    """
    world.send_numbers(len(numbers), start=numbers.start)
    token = None
    left = set(numbers)
    deadline = time.monotonic() + FOUND_S
    while left:
        assert time.monotonic() < deadline, (left, member.owned)
        try:
            member.poll()
            # Where nobody could tell what became of a commit, memory tells.
            left -= {int(key) for memory in member.memory.values() for key in memory}
            if records := member.take():
                token = token or member.token
                values = [int(each.value or b"") for each in records]
                changelog = [
                    world.remember(f"{n}", b"1", each.partition) for n, each in zip(values, records, strict=True)
                ]
                member.commit(records, changelog=changelog)
                assert left >= set(values), "what was committed came again"
                left -= set(values)
        except TransactionAborted:
            continue
        except Fenced:
            world.close_member(member)
            member = world.member(NAME)
    return member, token


def test_a_source_joins_anew_and_goes_on(
    blinders: Sequence[Blinder], transport: KafkaTransport, prefix: str, caplog: pytest.LogCaptureFixture
):
    world = World(transport, prefix, "exactly_once", replication=BROKERS)
    member = world.member(NAME)
    for number in range(TRIES_MAX):
        member, token = put_through(world, member, range(6 * number, 6 * number + 3))
        blind(blinders, member.poll)
        member, _ = put_through(world, member, range(6 * number + 3, 6 * number + 6))
        if LOST in caplog.text:
            break
    else:
        pytest.fail("no client lost its brokers: where librdkafka #5301 is mended, choreo.kafka.liveness can go")
    wait_until(member, fulfilled=lambda: len(member.owned) == PARTITIONS)
    # Its memory came with the partitions, and nobody vouches any more for what was polled before.
    remembered = {key for memory in member.memory.values() for key in memory}
    assert remembered >= {f"{n}" for n in range(6 * number + 3)}
    with pytest.raises(TransactionAborted):
        member.source.commit(Commit(token, [], [], {}))
    world.close()


def test_a_reader_reads_on(
    blinders: Sequence[Blinder], transport: KafkaTransport, prefix: str, caplog: pytest.LogCaptureFixture
):
    world = World(transport, prefix, "exactly_once", replication=BROKERS)
    with closing(transport.reader([world.inputs])) as reader:
        read: list[int] = []
        for number in range(TRIES_MAX):
            world.send_numbers(3, start=3 * number)
            deadline = time.monotonic() + FOUND_S
            while len(read) < 3 * (number + 1):
                assert time.monotonic() < deadline, read
                read += [int(each.value or b"") for each in reader.poll(0.1, 100)]
            assert sorted(read) == list(range(3 * (number + 1)))
            if LOST in caplog.text:
                break
            blind(blinders, partial(reader.poll, 0.1, 100))
        else:
            pytest.fail("no client lost its brokers: where librdkafka #5301 is mended, choreo.kafka.liveness can go")
    world.close()


def test_brokers_that_are_away_are_no_fault_of_the_clients(
    blinders: Sequence[Blinder], transport: KafkaTransport, prefix: str, caplog: pytest.LogCaptureFixture
):
    world = World(transport, prefix, "exactly_once", replication=BROKERS)
    member, _ = put_through(world, world.member(NAME), range(3))
    for each in blinders:
        each.away = True
        each.cut()
    _poll_for(3 * WELL_S + 2 * liveness.ANSWER_TIMEOUT_S, member.poll)
    for each in blinders:
        each.away = False
    put_through(world, member, range(3, 6))
    assert LOST not in caplog.text
    world.close()


def test_leaving_waits_no_longer_than_it_says():
    hanging, ended = threading.Event(), threading.Event()

    class Hanging:
        def close(self) -> None:
            hanging.wait()
            ended.set()

    began = time.monotonic()
    leave(cast(Consumer, Hanging()), 0.05)
    assert time.monotonic() - began < 5
    hanging.set()
    assert ended.wait(5), "it goes on by itself"
