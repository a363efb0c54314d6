"""The broker in memory keeps the contract."""

from collections.abc import Iterator

import pytest

from choreo.testing import MemoryBroker
from choreo.transport import Commit
from tests.transport_contract import TransportContract, World


class TestMemory(TransportContract):
    @pytest.fixture
    def transport(self) -> Iterator[MemoryBroker]:
        broker = MemoryBroker()
        yield broker
        broker.close()

    def spoil(self, world: World, commit: Commit) -> Commit:
        assert isinstance(world.transport, MemoryBroker)
        world.transport.abort_next_commit(world.group)
        return commit
