"""One saga of a scenario, as a test looks at it.

The questions that a test asks about a saga live here; the answers are the tracker's and the brokers'.
`Scenario.publish` returns a handle.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from choreo.errors import ChoreoError
from choreo.event import Envelope, Event
from choreo.saga import SagaState
from choreo.tracker import Flag, Reason, SagaStep, SagaView, Tracker

E = TypeVar("E", bound=Event)


class Stage(Protocol):
    """Where a saga plays."""

    @property
    def tracker(self) -> Tracker:
        """A tracker that has read everything."""
        ...

    def events_of(self, saga_id: str) -> Sequence[Envelope]:
        """Return a saga's committed events, in the order of their commits."""
        ...


class SagaHandle:
    """A saga, looked at anew whenever it is asked about.

    Attributes:
        saga_id: The saga.
    """

    def __init__(self, stage: Stage, saga_id: str) -> None:
        self._stage = stage
        self.saga_id = saga_id

    @property
    def view(self) -> SagaView:
        """The saga as the tracker shows it.

        Raises:
            ChoreoError: If no event of it has been published.
        """
        view = self._stage.tracker.saga(self.saga_id)
        if view is None:
            raise ChoreoError(f"there is no event of saga {self.saga_id}")
        return view

    @property
    def state(self) -> SagaState:
        """Where it stands."""
        return self.view.state

    @property
    def flags(self) -> frozenset[Flag]:
        """What stands beside its state: parked, stuck, a violation."""
        return self.view.flags

    @property
    def waiting_for(self) -> list[str]:
        """What must come for it to move; empty at rest."""
        return self.view.waiting_for

    @property
    def steps(self) -> list[SagaStep]:
        """Its steps, in the order in which they became ready."""
        return self.view.steps

    @property
    def reasons(self) -> list[Reason]:
        """Why it was aborted, one a failure."""
        return self.view.reasons

    @property
    def events(self) -> list[Envelope]:
        """Its events as they were committed, each once, the start first."""
        return list(self._stage.events_of(self.saga_id))

    @property
    def emitted(self) -> list[type[Event]]:
        """The types of its events, in the same order."""
        return [type(each.event) for each in self._stage.events_of(self.saga_id)]

    def event(self, kind: type[E]) -> E:
        """Return its only event of a type.

        Raises:
            LookupError: If there is none, or more than one; the message says what the saga has.
        """
        found = [each.event for each in self._stage.events_of(self.saga_id) if isinstance(each.event, kind)]
        if len(found) != 1:
            told = ", ".join(each.__name__ for each in self.emitted) or "nothing"
            number = "no event" if not found else f"{len(found)} events"
            raise LookupError(f"{number} of type {kind.__name__} in saga {self.saga_id}, which has: {told}")
        return found[0]

    def __repr__(self) -> str:
        return f"<saga {self.saga_id}: {', '.join(each.__name__ for each in self.emitted)}>"
