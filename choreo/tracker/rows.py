"""Records as the tracker judges them.

The two rows that the tracker keeps of a saga live here, an event and a note, with the folding of duplicates and the
order in which events are told. How bytes become rows does not (`decoding`). `verdict` and `store` agree on them.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventRow(NamedTuple):
    """One event; the columns of the store's table, in this order.

    Attributes:
        causes: Event ids, comma-separated.
        at_us: When it occurred, in microseconds since 1970, UTC.
        digest: Of the raw value; two ids with different digests differ.
        differs: 1 where the same id also came with another body.
        reason: The `reason` of a failure.
        payload: The decoded body as JSON, sensitive fields masked; None until the writer's schema is known.
        fingerprint: Of the writer's schema, in hex.
    """

    saga_id: str
    event_id: str
    type: str
    topic: str
    partition: int
    offset: int
    source: str = ""
    causation_id: str = ""
    causes: str = ""
    compensates_id: str = ""
    branch: str = ""
    hop: int = 0
    at_us: int = 0
    saga_type: str = ""
    business_key: str = ""
    digest: bytes = b""
    differs: int = 0
    reason: str = ""
    payload: str | None = None
    fingerprint: str = ""
    traceparent: str = ""


class NoteRow(NamedTuple):
    """One note from the journal, or the end of a saga (`kind` "ended"); the columns of the store's table.

    Attributes:
        kind: As the journal says it.
        trigger: What identifies the step beside handler and branch.
        step: The step's idempotency key.
        event_id: The event concerned.
        attempt: Failed attempts so far, 0 where unknown.
        at_us: When, in microseconds since 1970, UTC.
        actor: The person who asked for it, "" where nobody did.
        command_id: The command that asked for it.
    """

    saga_id: str
    note_id: str
    kind: str
    topic: str
    partition: int
    offset: int
    service: str = ""
    handler: str = ""
    branch: str = ""
    trigger: str = ""
    step: str = ""
    reason: str = ""
    error: str = ""
    event_type: str = ""
    event_id: str = ""
    saga_type: str = ""
    attempt: int = 0
    at_us: int = 0
    actor: str = ""
    command_id: str = ""


ENDED = "ended"


def moment(at_us: int) -> datetime:
    """Return the time that a row keeps as a number."""
    return _EPOCH + timedelta(microseconds=at_us)


def place(row: EventRow | NoteRow) -> tuple[str, int, int]:
    """Return where a record stands; of several with one id, the lowest place counts."""
    return row.topic, row.partition, row.offset


def fold_events(rows: Iterable[EventRow]) -> dict[str, EventRow]:
    """Return one row per event id, whatever the order and the number of copies.

    The copy at the lowest place wins, as the store's upsert has it; that another body came is marked.
    """
    folded: dict[str, EventRow] = {}
    for row in rows:
        known = folded.get(row.event_id)
        if known is None:
            folded[row.event_id] = row
            continue
        kept = min(known, row, key=place)
        differs = int(known.differs or row.differs or known.digest != row.digest)
        folded[row.event_id] = kept._replace(differs=differs) if kept.differs != differs else kept
    return folded


def fold_notes(rows: Iterable[NoteRow]) -> list[NoteRow]:
    """Return one row per note id, by time; those of one moment as they were written."""
    folded: dict[str, NoteRow] = {}
    for row in rows:
        known = folded.get(row.note_id)
        folded[row.note_id] = row if known is None else min(known, row, key=place)
    return sorted(folded.values(), key=lambda row: (row.at_us, place(row)))


def as_written(notes: Iterable[NoteRow]) -> list[NoteRow]:
    """Return notes in the order in which they were written, whatever the machines' clocks said.

    Those of one saga share a partition, whose order is the truth: what a person asked for stands behind what it was
    asked about. Partitions are told by time, for a saga is in two of them where the topic has grown in between.
    """
    rows = list(notes)
    begun: dict[tuple[str, int], int] = {}
    for row in rows:
        partition = (row.topic, row.partition)
        begun[partition] = min(row.at_us, begun.get(partition, row.at_us))
    return sorted(rows, key=lambda row: (begun[row.topic, row.partition], place(row)))


def parents(row: EventRow) -> tuple[str, ...]:
    """Return the ids of the events that this one says it follows from."""
    if row.causes:
        return (row.causation_id, *row.causes.split(",")) if row.causation_id else tuple(row.causes.split(","))
    return (row.causation_id,) if row.causation_id else ()


def in_order(folded: dict[str, EventRow]) -> list[EventRow]:
    """Return the events, causes before their effects and otherwise by time, whatever the machines' clocks said."""
    by_time = sorted(folded.values(), key=lambda row: (row.at_us, row.hop, place(row)))
    told: dict[str, EventRow] = {}
    waiting: dict[str, list[EventRow]] = {}
    missing: dict[str, int] = {}
    for row in by_time:
        # An id that names itself or something unknown holds nothing up.
        absent = {each for each in parents(row) if each in folded and each not in told and each != row.event_id}
        if absent:
            missing[row.event_id] = len(absent)
            for each in absent:
                waiting.setdefault(each, []).append(row)
            continue
        freed = [row]
        # Grows while it is gone through: what waited for one of them follows it.
        for free in freed:
            told[free.event_id] = free
            for later in waiting.pop(free.event_id, ()):
                missing[later.event_id] -= 1
                if not missing[later.event_id]:
                    freed.append(later)
    if len(told) < len(folded):
        # Events that name each other as causes: impossible, and shown all the same.
        told |= {row.event_id: row for row in by_time if row.event_id not in told}
    return list(told.values())
