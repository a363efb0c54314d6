"""The embedded broker keeps as much of the contract as it claims: order and at-least-once delivery."""

from collections.abc import Iterator

import pytest

from choreo.kafka import EmbeddedTransport
from choreo.transport import Commit, Guarantees
from tests.transport_contract import TransportContract, World

# A member with a name of its own leaves its partitions unowned for so long.
QUICK = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}


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

    def test_it_claims_no_more_than_it_keeps(self, transport: EmbeddedTransport):
        assert transport.guarantees == Guarantees(exactly_once=False, isolation=False, compaction=False, durable=False)
