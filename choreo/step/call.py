"""What `plan` hands to the runtime and `settle` hands back.

Three records live here: the call to make, the note to journal and the outcome to commit. They hold no logic.
`plan` and `settle` make them; the runtime carries them out.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from choreo.event import Envelope
from choreo.handler import Handler


@dataclass(slots=True)
class Call:
    """One step to take: a handler, for one trigger, in one branch.

    Attributes:
        handler: What to call.
        branch: The branch the step runs in.
        trigger: What identifies the step beside handler and branch (rule 2).
        ready: The event that made it ready.
        events: What to pass for each event parameter, in signature order; None for an original that never was.
        causes: The events that it answers, for `ctx.causes`.
        check: CRC-32 of the trigger's body.
        skip: Why the step is not run, or "".
        error: Why it must be parked without running, or "".
        again: It has run before; what is recorded of it is emitted again (at least once).
        compensates_id: What it undoes, "" for a forward step.
        undoes_key: The idempotency key of the step undone.
    """

    handler: Handler
    branch: str
    trigger: str
    ready: Envelope
    events: tuple[Envelope | None, ...]
    causes: tuple[Envelope, ...]
    check: int = 0
    skip: str = ""
    error: str = ""
    again: bool = False
    compensates_id: str = ""
    undoes_key: str = ""


class Note(NamedTuple):
    """Something to journal that is not a domain fact.

    Attributes:
        kind: `completed`, `skipped`, `parked`, `retried`, `dropped`, `duplicate-differs` or `dead-lettered`.
        handler: The step's handler, "" where there is none.
        branch: The step's branch.
        trigger: The step's trigger.
        step: The step's idempotency key.
        causes: Event ids that made the step ready.
        reason: Why, for people.
        error: The exception, as text.
        event_type: The event concerned.
        event_id: Its id.
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


@dataclass(slots=True)
class Outcome:
    """What came of a step.

    Attributes:
        events: To publish, in this order.
        notes: To journal.
        ended: The event that ended the saga, if this step did.
        error: Why the step was parked, or None.
    """

    events: list[Envelope] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    ended: Envelope | None = None
    error: Exception | None = None
