"""The embedded broker keeps as much of the contract as it claims: order and at-least-once delivery."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError

from choreo.errors import Fenced
from choreo.kafka import EmbeddedTransport
from choreo.transport import Commit, Guarantees
from tests.transport_contract import TransportContract, World

# A member with a name of its own leaves its partitions unowned for so long.
QUICK = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}


class Fencing:
    """A client whose reads bring that all partitions are lost, and why, once it is `fenced`."""

    fenced = False

    def __init__(self, properties: dict[str, Any]) -> None:
        self._consumer = Consumer(properties)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def subscribe(self, topics: list[str], *, on_revoke: Callable[..., None], **callbacks: Any) -> None:
        self._on_revoke = on_revoke
        self._consumer.subscribe(topics, on_revoke=on_revoke, **callbacks)

    def consume(self, count: int, timeout_s: float) -> list[Any]:
        if not self.fenced:
            return self._consumer.consume(count, timeout_s)
        self._on_revoke(self._consumer, self._consumer.assignment())
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

    def test_that_we_are_fenced_is_heard_though_it_comes_with_a_rebalance(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ):
        """One read may bring both, and a client with a fatal error never joins again: nothing else would ever tell."""
        monkeypatch.setattr("choreo.kafka.source.Consumer", Fencing)
        member = world.owner()
        monkeypatch.setattr(Fencing, "fenced", True)
        assert member.source.fetch(1000) is None
        with pytest.raises(Fenced):
            member.poll()

    def test_it_claims_no_more_than_it_keeps(self, transport: EmbeddedTransport):
        assert transport.guarantees == Guarantees(exactly_once=False, isolation=False, compaction=False, durable=False)
