"""The tracker's answers.

The immutable views of a saga, its steps and its events live here, with their JSON form; how they are worked out does
not (`verdict`, `projection`). Programs get these from `client`, and the command line prints them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from choreo.saga import SagaState

AT_REST = frozenset({SagaState.COMPLETED, SagaState.FAILED})


class StepStatus(StrEnum):
    """How far one step has come."""

    PENDING = "pending"
    EXECUTING = "executing"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    PARKED = "parked"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"


class Flag(StrEnum):
    """What deserves attention beside a saga's state.

    `parked`: a step waits for a person. `stuck`: parked, and nothing else of the saga can move, no step and no
    deadline. `violation`: an event that the graph does not allow. `differs`: one event id came with two bodies.
    `overdue`: a deadline should have fired and has not; it is worked out when a saga is read, and never stored.
    """

    PARKED = "parked"
    STUCK = "stuck"
    OVERDUE = "overdue"
    VIOLATION = "violation"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a saga was aborted: one failure.

    Attributes:
        event: Avro full name of the failure.
        text: Its `reason`.
        at: When it occurred.
    """

    event: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class EventView:
    """One event of a saga, as it is shown.

    Attributes:
        source: `/service/handler`, or any URI from outside.
        causes: Event ids of all causes, where a join emitted it.
        compensates_id: The original that this event undoes; with `None`, the undone step's idempotency key.
        hop: Events from the start.
        payload: The decoded body, sensitive fields masked; None until the writer's schema is known.
        fingerprint: Of the writer's schema, in hex.
    """

    saga_id: str
    event_id: str
    type: str
    topic: str
    partition: int
    offset: int
    source: str
    causation_id: str
    causes: tuple[str, ...]
    compensates_id: str
    branch: str
    hop: int
    at: datetime
    payload: dict[str, Any] | None
    fingerprint: str
    traceparent: str
    saga_type: str
    business_key: str


@dataclass(frozen=True, slots=True)
class NoteView:
    """One note of the journal about a saga, or its end (`kind` "ended").

    Attributes:
        kind: As the journal says it: `completed`, `skipped`, `retried`, `parked`, `resumed`, `resolved`, `refused`,
            `dropped` or others to come.
        reason: Why, for people; of an end, its outcome.
        error: The exception, as text; of a command that was refused, why.
        event_type: The event concerned.
        attempt: Failed attempts so far; 0 where that says nothing.
        actor: The person who asked for it, "" where nobody did.
        command_id: The command that asked for it.
    """

    kind: str
    service: str
    handler: str
    branch: str
    trigger: str
    reason: str
    error: str
    event_type: str
    event_id: str
    attempt: int
    actor: str
    command_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaStep:
    """One step of a saga, with its undoing.

    Attributes:
        name: Handler, such as `capture`.
        service: Service that runs it.
        branch: Branch it runs in, "" at the root.
        action: The event it emitted; before that, those it may emit, joined by ` | `.
        compensation: Handler that undoes it, "" where there is none.
        result: Types of the events it emitted, joined by `, `; None without a result, "" where it emitted nothing.
        error: The last error, why it was skipped, or why a person took it as done; "" where there is none.
        attempts: Attempts that are known of.
        executed_at: When its result came.
        compensated_at: When it was undone.
        since: When its first cause came.
        trigger: What identifies it beside handler and branch: the event it ran for, "" for a join, and the beginning of
            the fan-out's key for a fan-in.
    """

    name: str
    service: str
    branch: str
    action: str
    compensation: str
    status: StepStatus
    result: str | None
    error: str
    attempts: int
    executed_at: datetime | None
    compensated_at: datetime | None
    since: datetime | None
    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaView:
    """One saga, as far as its records tell.

    Attributes:
        waiting_for: What must come for the saga to move, from whom, since when, and until when where there is a
            deadline; empty at rest.
        steps: In the order in which they became ready.
        events: Causes before effects, otherwise by time.
        notes: What the journal holds, by time.
        reasons: One for each failure.
        violations: What the graph does not allow, in words.
        started_at: When the start occurred; of the first record where no start is known.
        updated_at: Time of the last record.
    """

    saga_id: str
    saga_type: str
    business_key: str
    state: SagaState
    flags: frozenset[Flag]
    waiting_for: list[str]
    steps: list[SagaStep]
    events: list[EventView]
    notes: list[NoteView]
    reasons: list[Reason]
    violations: list[str]
    started_at: datetime
    updated_at: datetime

    @property
    def at_rest(self) -> bool:
        """Whether nothing of this saga is left to do."""
        return self.state in AT_REST


@dataclass(frozen=True, slots=True)
class Page:
    """Some sagas of a longer list.

    Attributes:
        items: The sagas.
        next: Where the next page begins; None on the last.
    """

    items: list[SagaView]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far the tracker is behind what it tracks.

    Attributes:
        records: Records that are not in the store yet, when the follower last looked.
        seconds: Since the store last held all there was; None if it never has.
        partitions: Partitions that are behind.
        undecodable: Records in the topics that cannot be read.
        undecoded: Events whose writer's schema is not known yet.
        checked_at: When the follower last looked; None if there has been none.
    """

    records: int
    seconds: float | None
    partitions: int
    undecodable: int
    undecoded: int
    checked_at: datetime | None


def plain(value: object) -> Any:
    """Return an answer of the tracker as JSON's own types, each view as its fields by name.

    Args:
        value: A view, or lists and mappings of views.
    """
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value):
        # A payload is JSON already, and may be nested deeper than calls may be.
        held = {each.name: getattr(value, each.name) for each in fields(value)}
        return {name: item if name == "payload" else plain(item) for name, item in held.items()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value
