"""A real Kafka keeps the contract, with transactions and without."""

from collections.abc import Iterator

import pytest

from choreo.errors import BufferFull, TransactionAborted
from choreo.kafka import KafkaTransport
from choreo.transport import Commit, Outgoing, TopicSpec
from tests.transport_contract import TransportContract, World, wait_until

pytestmark = pytest.mark.kafka
# A member with a name of its own leaves its partitions unowned for so long.
QUICK = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}
TOO_LARGE = b"x" * 2_000_000


class TestKafka(TransportContract):
    @pytest.fixture
    def transport(self, kafka: str) -> Iterator[KafkaTransport]:
        transport = KafkaTransport({"bootstrap.servers": kafka, **QUICK})
        yield transport
        transport.close()

    def spoil(self, world: World, commit: Commit) -> Commit:
        """Add a record that is larger than the topic takes, which the broker says only once it gets it."""
        return Commit(commit.token, commit.changelog, [*commit.outputs, world.output(TOO_LARGE, 1)], commit.offsets)

    def test_a_record_that_the_client_refuses_aborts_too(self, world: World):
        member = world.owner()
        world.send_numbers(3)
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        member.take()
        with pytest.raises(TransactionAborted):
            member.source.commit(Commit(member.token, [], [world.output(b"never", 99)], {(world.inputs, 0): 1}))
        wait_until(member, fulfilled=lambda: len(member.records) == 3)
        member.commit(member.take(), [world.output(b"once")])
        assert world.values(world.outputs) == [b"once"]

    def test_a_full_buffer_is_said_and_empties(self, kafka: str, prefix: str):
        config = {"bootstrap.servers": kafka, "queue.buffering.max.messages": "10", "linger.ms": "300"}
        transport = KafkaTransport(config)
        transport.create([TopicSpec(f"{prefix}topic", 1)])
        sender = transport.sender()
        record = Outgoing(f"{prefix}topic", b"k", b"v", [])
        told: list[Exception | None] = []
        for _ in range(10):
            sender.enqueue(record, told.append)
        with pytest.raises(BufferFull):
            sender.enqueue(record, told.append)
        assert sender.flush(30) == 0
        sender.enqueue(record, told.append)
        sender.close()
        assert told == [None] * 11
