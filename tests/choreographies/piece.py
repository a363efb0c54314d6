"""A choreography as tests are given it: its services, and every way that a saga of it may go.

What a way begins with and what must have come of it at rest live here; the choreographies themselves do not, nor do
those who run them.
"""

from collections.abc import Mapping
from typing import NamedTuple

from choreo import Event, SagaState, Service
from tests.choreographies.fact import Fact

COMPLETED, FAILED = SagaState.COMPLETED, SagaState.FAILED


class Way(NamedTuple):
    """One way that a saga may go.

    Attributes:
        state: Where it rests.
        says: The events behind the start, by class name, where records are delivered oldest first.
        holds: What is held for it at rest, by service; nothing by all others.
        no: What says no on this way, and in `raises` what raises.
        outside: What people publish into it, as soon as it is started.
        start: Further fields of its start.
    """

    state: SagaState
    says: str
    holds: Mapping[str, int] = {}
    no: tuple[str, ...] = ()
    raises: tuple[str, ...] = ()
    outside: tuple[Event, ...] = ()
    start: Mapping[str, object] = {}


class Piece(NamedTuple):
    """One choreography.

    Attributes:
        services: All that take part.
        starts: The event that starts its sagas.
        ways: By what happens on them.
    """

    services: tuple[Service, ...]
    starts: type[Fact]
    ways: Mapping[str, Way]

    def start(self, way: str, key: str = "1") -> Fact:
        """Return what starts a saga that goes this way, under a business key of its own."""
        chosen = self.ways[way]
        fields = {"key": key, "no": list(chosen.no), "raises": list(chosen.raises), **chosen.start}
        return self.starts.model_validate(fields)

    @property
    def outside(self) -> tuple[Event, ...]:
        """Return every event that people publish into its sagas, once each."""
        return tuple(dict.fromkeys(event for way in self.ways.values() for event in way.outside))
