"""The broker in memory keeps what every transport promises."""

import pytest

from choreo.testing import MemoryBroker
from choreo.testing.memory_transport import Reached
from choreo.transport import Commit
from tests.transport_contract import TransportContract, World


class TestMemoryBroker(TransportContract):
    @pytest.fixture
    def transport(self):
        broker = MemoryBroker()
        yield broker
        broker.close()

    def spoil(self, world: World, commit: Commit) -> Commit:
        assert isinstance(world.transport, MemoryBroker)
        if self.exact(world):
            world.transport.abort_next_commit(world.group)
        else:
            # The worst that can happen to one without transactions: memory is out, and the outputs are not.
            world.transport.lose_commit_response(world.group, Reached.MEMORY)
        return commit
