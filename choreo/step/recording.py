"""What memory keeps of events, and how they become envelopes again.

Recording, recalling and the questions of scope (SEMANTICS 7) that every other module of the core asks live here; no
rule about what runs does. Pure.
"""

from datetime import UTC, datetime, timedelta
from zlib import crc32

from choreo.errors import UndecodableRecord
from choreo.event import Envelope
from choreo.memory import Memory, Recorded
from choreo.scope import reaches, step_key
from choreo.step.reactions import Names, Rules

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)


def record(envelope: Envelope, *, body: bool, **marks: str | bool) -> Recorded:
    """Return what memory keeps of an event.

    Args:
        envelope: The event.
        body: Whether a handler may ask for it again.
        marks: `mine`, `read`, `step` and `trigger` of `Recorded`.
    """
    kept = Recorded(
        event_id=envelope.event_id,
        type=envelope.type,
        branch=envelope.branch,
        hop=envelope.hop,
        occurred_us=(envelope.occurred_at - EPOCH) // _MICROSECOND,
        source=envelope.source,
        causation_id=envelope.causation_id,
        causes=envelope.causes,
        compensates_id=envelope.compensates_id,
        path=envelope.path,
        body=envelope.body if body else b"",
        check=crc32(envelope.body),
        saga_type=envelope.saga_type,
        business_key=envelope.business_key,
        traceparent=envelope.traceparent,
        tracestate=envelope.tracestate,
    )
    return kept._replace(**marks) if marks else kept  # type: ignore[arg-type]


def recall(rules: Rules, saga_id: str, recorded: Recorded) -> Envelope:
    """Return a recorded event as an envelope again.

    Raises:
        UndecodableRecord: If its type is not known here any more, or it was written otherwise.
    """
    return Envelope(
        event=rules.codec.decode(recorded.type, recorded.body),
        body=recorded.body,
        event_id=recorded.event_id,
        type=recorded.type,
        saga_id=saga_id,
        saga_type=recorded.saga_type,
        business_key=recorded.business_key,
        source=recorded.source,
        occurred_at=EPOCH + timedelta(microseconds=recorded.occurred_us),
        causation_id=recorded.causation_id,
        causes=recorded.causes,
        compensates_id=recorded.compensates_id,
        branch=recorded.branch,
        hop=recorded.hop,
        path=recorded.path,
        traceparent=recorded.traceparent,
        tracestate=recorded.tracestate,
    )


def keep(memory: Memory, envelope: Envelope) -> str:
    """Record an event with its body, because a step that waits needs it; return its id."""
    known = memory.events.get(envelope.event_id)
    if known is None:
        memory.events[envelope.event_id] = record(envelope, body=True)
    elif not known.body:
        memory.events[envelope.event_id] = known._replace(body=envelope.body)
    return envelope.event_id


def first(rules: Rules, memory: Memory, types: Names, branch: str) -> Recorded | None:
    """Return the first recorded event of these types that has a say in this branch."""
    for recorded in memory.events.values():
        if recorded.type in types and reaches(recorded, branch, rules.failures):
            return recorded
    return None


def milliseconds(moment: datetime) -> int:
    """Return a moment as timers have it, rounded up; never 0, which means none."""
    return max(-((EPOCH - moment) // _MILLISECOND), 1)


def key_of(rules: Rules, saga_id: str, handler: str, branch: str, trigger: str) -> str:
    """Return the idempotency key of a step of this service."""
    return step_key(saga_id, f"{rules.service}.{handler}", branch, trigger)


def room_for_one(rules: Rules, memory: Memory) -> None:
    """Refuse to remember more than `waiting_max` events of a saga (rule 6).

    Raises:
        UndecodableRecord: If that many are remembered; the record belongs into the dead letters.
    """
    count = len(memory.events) + len(memory.held)
    if count >= rules.waiting_max:
        raise UndecodableRecord("waiting-full", f"{count} events of this saga are remembered already (waiting_max)")
