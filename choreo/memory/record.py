"""The records that a memory is made of: fences, recorded events, timers and steps that wait.

They hold no logic and know no bytes (`binary`). `step` makes and reads them.
"""

from enum import IntEnum
from typing import Annotated, NamedTuple

from msgspec import Meta

HOP_MAX = 0xFFFF
OCCURRED_US_MIN, OCCURRED_US_MAX = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999, which is all that a datetime holds."""

FenceKey = tuple[str, str, str]
"""Handler name, branch, trigger: what makes two executions the same step."""


class MemoryFlag:
    """What a sweep may want to know without decoding; plain bits, for an enum's operators cost a microsecond each.

    `BUSY`: a step is retrying or parked, or an event waits behind one. `OWED`: outputs are recorded that nobody vouches
    for, where there are no transactions. Both are worked out when a memory is encoded.
    """

    STARTED = 1
    ABORTED = 2
    COMPLETED = 4
    FAILED = 8
    BUSY = 16
    OWED = 32


class Status(IntEnum):
    """How far a step has come; a step without a fence has not run.

    `UNKNOWN`: its `otherwise` has ended it, and a compensation is to run with `None` for it (SEMANTICS 16).
    """

    DONE = 1
    SKIPPED = 2
    PARKED = 3
    RETRYING = 4
    UNKNOWN = 5


class Fence(NamedTuple):
    """The mark that a step leaves, so that it leaves it once.

    Attributes:
        status: How it ended.
        check: CRC-32 of the trigger's body, so that a duplicate with another body is noticed.
    """

    status: Status
    check: int = 0


class Recorded(NamedTuple):
    """An event that this service may need again, with its body where a handler may ask for it.

    The fields that most events leave at their defaults stand last: trailing defaults are not written.

    Attributes:
        occurred_us: `ce_time` in microseconds since 1970, UTC.
        body: The framed Kafka value; empty where only the fact matters.
        check: CRC-32 of the value it had.
        mine: Emitted by this service.
        read: Has come from the topic (an own event counts from its commit, before it is read).
        step: Handler that emitted it, "" where it came from elsewhere.
        trigger: The trigger of that step, so that its outputs can be found again.
    """

    event_id: str
    type: str
    hop: Annotated[int, Meta(ge=0, le=HOP_MAX)] = 0
    occurred_us: Annotated[int, Meta(ge=OCCURRED_US_MIN, le=OCCURRED_US_MAX)] = 0
    source: str = ""
    causation_id: str = ""
    path: tuple[str, ...] = ()
    body: bytes = b""
    check: int = 0
    read: bool = True
    saga_type: str = ""
    business_key: str = ""
    traceparent: str = ""
    mine: bool = False
    step: str = ""
    trigger: str = ""
    branch: str = ""
    causes: tuple[str, ...] = ()
    compensates_id: str = ""
    tracestate: str = ""


class TimerKind(IntEnum):
    """What is to be done when a timer is due."""

    RETRY = 1
    DEADLINE = 2
    LATER = 3


TimerKey = tuple[TimerKind, str, str, str, int]
"""Kind, handler name, branch, trigger and, for a `Later`, the output's index: there is one timer of each."""


class Timer(NamedTuple):
    """A durable "do this at that time".

    Attributes:
        due_ms: When, in milliseconds since 1970, UTC.
        event: A deadline's trigger, or the event to emit later; None for a retry, whose step waits in `Memory.waiting`.
        unless: Types that call a `Later` off.
    """

    due_ms: Annotated[int, Meta(ge=0)]
    event: Recorded | None = None
    unless: tuple[str, ...] = ()


class Waiting(NamedTuple):
    """A step that has failed and is not settled: retrying or parked. Its events stand in `Memory.events`.

    Attributes:
        attempt: Failed attempts of its handler, or of its `otherwise` where `spent`.
        spent: The handler's retries are spent, and it is the `otherwise` that failed.
        error: What the last attempt raised, as text.
        events: What is passed for each event parameter: event ids; none for `None`, several for branches.
        causes: Ids of the events that the step answers.
        ready: The event that made it ready.
        compensates_id: What it undoes, "" for a forward step.
        undoes_key: The idempotency key of the step undone.
        command_id: The command that had it tried anew, "" where none did.
    """

    attempt: Annotated[int, Meta(ge=0)]
    spent: bool
    error: str
    events: tuple[tuple[str, ...], ...]
    causes: tuple[str, ...]
    ready: str
    compensates_id: str = ""
    undoes_key: str = ""
    command_id: str = ""


class MemoryBody(NamedTuple):
    """What follows the head of an encoded memory: attributes of `Memory`, in the order in which they are written."""

    terminal_id: str
    state: bytes
    fences: dict[FenceKey, Fence]
    events: list[Recorded]
    held: list[Recorded]
    timers: dict[TimerKey, Timer]
    waiting: dict[FenceKey, Waiting]
    owed: list[FenceKey]
