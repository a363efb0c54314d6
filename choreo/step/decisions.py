"""What `Participant` decides: the steps to take, and what comes of each.

The records of the core live here and hold no logic. `Participant` and the modules that it is made of make them; the
runtime carries them out.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from choreo.event import Envelope, Event
from choreo.handler import Handler
from choreo.memory import FenceKey
from choreo.records import Note
from choreo.service import Later

Argument = Envelope | tuple[Envelope, ...] | None
"""What is passed for an event parameter: an event, one of each branch, or None where there is no original."""


class Branch(NamedTuple):
    """An event that opens a branch: one of the list that a handler returned."""

    event: Event
    path: int
    of: int


Emitted = Sequence[Event | Later[Event] | Branch]
"""What a handler returned, in order."""


class Run(Struct, frozen=True):
    """Call a handler once.

    Attributes:
        handler: What to call: the step's own handler or, once its retries are spent, its `otherwise`.
        key: The step: the handler that it is known by, its branch and its trigger (rule 2).
        ready: The event that made the step ready.
        events: What to pass for each event parameter, in signature order.
        causes: The events that the step answers.
        check: CRC-32 of the trigger's body.
        compensates_id: What the step undoes, "" for a forward step.
        undoes_key: The idempotency key of the step undone.
        attempt: Which attempt of this handler it is, from 1.
        failure: For an `otherwise`: what the step's own handler raised.
        command_id: The command that asked for the attempt, "" where none did.
    """

    handler: Handler
    key: FenceKey
    ready: Envelope
    events: tuple[Argument, ...]
    causes: tuple[Envelope, ...]
    check: int = 0
    compensates_id: str = ""
    undoes_key: str = ""
    attempt: int = 1
    failure: Exception | None = None
    command_id: str = ""


class Park(Struct, frozen=True):
    """Set a step aside for a person: its call cannot be made, for this reason."""

    run: Run
    reason: str

    @property
    def key(self) -> FenceKey:
        """The step."""
        return self.run.key


class Skip(Struct, frozen=True):
    """Record that a step is not to run, for this reason; `ready` may be the event that cancels it."""

    key: FenceKey
    ready: Envelope
    causes: tuple[Envelope, ...]
    check: int
    reason: str
    command_id: str = ""


class Reemit(Struct, frozen=True):
    """Publish again what is recorded of a step that has run (rule 10); `ready` is the event that came again, if any."""

    key: FenceKey
    ready: Envelope | None = None
    causes: tuple[Envelope, ...] = ()
    command_id: str = ""


Decision: TypeAlias = Run | Park | Skip | Reemit
"""What is to be done about one step."""


class Outcome(Struct):
    """What something that happened to a service comes to.

    Attributes:
        events: To publish, in this order.
        notes: To journal.
        steps: To take next, in this order.
        ended: The event that ended the saga, if one of `events` did.
        error: Why a step was parked.
    """

    events: list[Envelope] = []
    notes: list[Note] = []
    steps: list[Decision] = []
    ended: Envelope | None = None
    error: Exception | None = None
