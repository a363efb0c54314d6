"""The embedded broker keeps as much of the contract as it claims: order and at-least-once delivery."""

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from choreo.errors import Fenced
from choreo.kafka import EmbeddedTransport
from choreo.kafka.assignment import Assignment
from choreo.kafka.source import KafkaSource
from choreo.transport import Commit, Guarantees
from tests.transport_contract import TransportContract, World

# A member with a name of its own leaves its partitions unowned for so long.
QUICK = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}


class Fencing:
    """A client whose next read brings that all partitions are lost, and why."""

    def __init__(self, consumer: Any, assignment: Assignment) -> None:
        self._consumer = consumer
        self._assignment = assignment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def consume(self, _count: int, _timeout_s: float) -> list["Fencing"]:
        lost = [TopicPartition(*each) for each in self._assignment.offsets]
        self._assignment._on_revoke(self._consumer, lost)
        return [self]

    def error(self) -> KafkaError:
        return KafkaError(KafkaError._FATAL, "Static consumer fenced by other consumer with same group.instance.id")

    def topic(self) -> None:
        return None


class TestEmbedded(TransportContract):
    @pytest.fixture
    def transport(self) -> Iterator[EmbeddedTransport]:
        transport = EmbeddedTransport(QUICK)
        yield transport
        transport.close()

    @pytest.fixture
    def delivery(self) -> str:
        """What `running` asks for where exactly-once is not claimed."""
        return "at_least_once"

    def spoil(self, world: World, commit: Commit) -> Commit:
        """Add a record for a partition that does not exist."""
        return Commit(commit.token, commit.changelog, [*commit.outputs, world.output(b"nowhere", 99)], commit.offsets)

    def test_that_we_are_fenced_is_heard_though_it_comes_with_a_rebalance(self, world: World):
        """One read may bring both, and a client with a fatal error never joins again: nothing else would ever tell."""
        member = world.owner()
        source = member.source
        assert isinstance(source, KafkaSource)
        source._consumer = Fencing(source._consumer, source._assignment)
        assert source.fetch(1000) is None
        with pytest.raises(Fenced):
            member.poll()

    def test_it_claims_no_more_than_it_keeps(self, transport: EmbeddedTransport):
        assert transport.guarantees == Guarantees(exactly_once=False, isolation=False, compaction=False, durable=False)
