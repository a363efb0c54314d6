"""One saga of a scenario, as a test looks at it.

The questions that a test asks about a saga live here; the answers are the tracker's and the brokers'.
`Scenario.publish` returns a handle.
"""

from collections.abc import Callable
from typing import TypeVar

from choreo.errors import ChoreoError
from choreo.event import Envelope, Event
from choreo.saga import SagaState
from choreo.tracker import Flag, Reason, SagaStep, SagaView

E = TypeVar("E", bound=Event)


class SagaHandle:
    """A saga, read anew whenever it is asked about; it can be read after the block of its scenario, too.

    Attributes:
        saga_id: The saga.
    """

    def __init__(
        self, saga_id: str, view: Callable[[str], SagaView | None], events: Callable[[str], list[Envelope]]
    ) -> None:
        self.saga_id = saga_id
        self._view = view
        self._events = events

    @property
    def view(self) -> SagaView:
        """The saga as the tracker shows it.

        Raises:
            ChoreoError: If no event of it has been published.
        """
        view = self._view(self.saga_id)
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
        return self._events(self.saga_id)

    @property
    def emitted(self) -> list[type[Event]]:
        """The types of its events, in the same order."""
        return [type(envelope.event) for envelope in self.events]

    def event(self, kind: type[E]) -> E:
        """Return its only event of a type.

        Raises:
            LookupError: If there is none, or more than one; the message says what the saga has.
        """
        found = [envelope.event for envelope in self.events if isinstance(envelope.event, kind)]
        if len(found) != 1:
            emitted = ", ".join(each.__name__ for each in self.emitted) or "nothing"
            number = "no event" if not found else f"{len(found)} events"
            raise LookupError(f"{number} of type {kind.__name__} in saga {self.saga_id}, which has: {emitted}")
        return found[0]

    def __repr__(self) -> str:
        return f"<saga {self.saga_id}: {', '.join(each.__name__ for each in self.emitted)}>"
