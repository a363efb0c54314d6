"""What `plan` hands to the runtime and `settle` hands back.

The records of the core live here: the call to make, what a handler gave back, the note to journal and the outcome to
commit. They hold no logic. `plan`, `settle` and `failing` make them; the runtime carries them out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from choreo.event import Envelope, Event
from choreo.handler import Handler
from choreo.service import Later

Argument = Envelope | tuple[Envelope, ...] | None
"""What is passed for an event parameter: an event, one of each branch, or None for an original that never was."""


class Branch(NamedTuple):
    """An event that opens a branch: one of the list that a handler returned."""

    event: Event
    path: int
    of: int


Emitted = Sequence[Event | Later[Event] | Branch]
"""What a handler gave back, in order."""


@dataclass(slots=True)
class Call:
    """One step to take: a handler, for one trigger, in one branch.

    Attributes:
        handler: What to call.
        branch: The branch the step runs in.
        trigger: What identifies the step beside handler and branch (rule 2).
        ready: The event that made it ready.
        events: What to pass for each event parameter, in signature order.
        causes: The events that it answers, for `ctx.causes`.
        check: CRC-32 of the trigger's body.
        skip: Why the step is not run, or "".
        error: Why it must be parked without running, or "".
        again: It has run before; what is recorded of it is emitted again (at least once).
        compensates_id: What it undoes, "" for a forward step.
        undoes_key: The idempotency key of the step undone.
        attempt: Which attempt of this handler this is, from 1.
        stands_for: Of an `otherwise`: the handler whose step it ends; "" for any other.
        failure: Of an `otherwise`: what that handler raised.
        command_id: The command that had the step tried anew, "" where none did.
    """

    handler: Handler
    branch: str
    trigger: str
    ready: Envelope
    events: tuple[Argument, ...]
    causes: tuple[Envelope, ...]
    check: int = 0
    skip: str = ""
    error: str = ""
    again: bool = False
    compensates_id: str = ""
    undoes_key: str = ""
    attempt: int = 1
    stands_for: str = ""
    failure: Exception | None = None
    command_id: str = ""

    @property
    def name(self) -> str:
        """Return the handler that the step is known by: an `otherwise` acts under that of its step."""
        return self.stands_for or self.handler.name


class Note(NamedTuple):
    """Something to journal that is not a domain fact.

    Attributes:
        kind: `completed`, `delayed`, `skipped`, `retried`, `parked`, `resumed`, `resolved`, `refused`, `dropped`,
            `duplicate-differs`, `dead-lettered` or `redriven`.
        handler: The step's handler, "" where there is none.
        branch: The step's branch.
        trigger: The step's trigger.
        step: The step's idempotency key.
        causes: Event ids that made the step ready.
        reason: Why, for people.
        error: The exception, as text.
        event_type: The event concerned.
        event_id: Its id.
        attempt: Failed attempts so far; 0 where that says nothing.
        part: What tells it from another note about the same step: `otherwise`, or the event that is delayed.
        actor: The person who asked for it, "" where nobody did.
        command_id: The command that asked for it.
    """

    kind: str
    handler: str = ""
    branch: str = ""
    trigger: str = ""
    step: str = ""
    causes: tuple[str, ...] = ()
    reason: str = ""
    error: str = ""
    event_type: str = ""
    event_id: str = ""
    attempt: int = 0
    part: str = ""
    actor: str = ""
    command_id: str = ""


@dataclass(slots=True)
class Outcome:
    """What came of a step.

    Attributes:
        events: To publish, in this order.
        notes: To journal.
        ended: The event that ended the saga, if this step did.
        error: Why the step was parked, or None.
        then: The step's `otherwise`, to be called at once because its retries are spent.
    """

    events: list[Envelope] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    ended: Envelope | None = None
    error: Exception | None = None
    then: Call | None = None
