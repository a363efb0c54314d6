"""Rows: what the tracker keeps of records.

The two kinds of row live here, of an event and of a note, with the folding of duplicates and the order in which events
are shown. How bytes become rows does not (`row_decoder`). `store` keeps them, and `verdict` judges by them.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from choreo.clock import EPOCH, MICROSECOND


class EventRow(NamedTuple):
    """One event; the columns of the store's table, in this order."""

    saga_id: str
    event_id: str
    type: str
    topic: str
    partition: int
    offset: int
    source: str = ""
    causation_id: str = ""
    causes: str = ""  # Event ids, comma-separated.
    compensates_id: str = ""
    branch: str = ""
    hop: int = 0
    at_us: int = 0  # When it occurred, in microseconds since 1970, UTC.
    saga_type: str = ""
    business_key: str = ""
    digest: bytes = b""  # Of the raw value; two ids with different digests differ.
    differs: int = 0  # 1 where the same id also came with another body.
    reason: str = ""  # The `reason` of a failure.
    payload: str | None = None  # The decoded body as JSON, sensitive fields masked; None until its schema is known.
    fingerprint: str = ""  # Of the writer's schema, in hex.
    traceparent: str = ""


class NoteRow(NamedTuple):
    """One note from the journal, or the end of a saga (`kind` "ended"); the columns of the store's table."""

    saga_id: str
    note_id: str
    kind: str  # As the journal says it.
    topic: str
    partition: int
    offset: int
    service: str = ""
    handler: str = ""
    branch: str = ""
    trigger: str = ""  # What identifies the step beside handler and branch.
    step: str = ""  # The step's idempotency key.
    reason: str = ""
    error: str = ""
    event_type: str = ""
    event_id: str = ""  # The event concerned.
    saga_type: str = ""
    attempt: int = 0  # Failed attempts so far, 0 where unknown.
    at_us: int = 0  # When, in microseconds since 1970, UTC.
    actor: str = ""  # The person who asked for it, "" where nobody did.
    command_id: str = ""  # The command that asked for it.


ENDED = "ended"


def moment(at_us: int) -> datetime:
    """Return the time that a row keeps as a number."""
    return EPOCH + timedelta(microseconds=at_us)


def microseconds(at: datetime) -> int:
    """Return the number that a row keeps of a time, microseconds since 1970 in UTC; a time without a zone is in UTC."""
    return ((at if at.tzinfo is not None else at.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND


def place(row: EventRow | NoteRow) -> tuple[str, int, int]:
    """Return where a record stands; of several with one id, the lowest place counts."""
    return row.topic, row.partition, row.offset


def fold_events(rows: Iterable[EventRow]) -> dict[str, EventRow]:
    """Return one row per event id, whatever the order and the number of copies.

    The copy at the lowest place wins, as the store's upsert has it; that another body came is marked.
    """
    folded: dict[str, EventRow] = {}
    for row in rows:
        known = folded.get(row.event_id, row)
        kept = min(known, row, key=place)
        differs = int(known.differs or row.differs or known.digest != row.digest)
        folded[row.event_id] = kept._replace(differs=differs) if kept.differs != differs else kept
    return folded


def fold_notes(rows: Iterable[NoteRow]) -> list[NoteRow]:
    """Return one row per note id, by time; those of one moment as they were written."""
    folded: dict[str, NoteRow] = {}
    for row in rows:
        folded[row.note_id] = min(folded.get(row.note_id, row), row, key=place)
    return sorted(folded.values(), key=lambda row: (row.at_us, place(row)))


def as_written(notes: Iterable[NoteRow]) -> list[NoteRow]:
    """Return notes in the order in which they were written, whatever the machines' clocks said.

    Those of one saga share a partition, and its order counts: what a person asked for comes after what it is about.
    Where the topic has grown in between, a saga is in two partitions, which are ordered by time.
    """
    rows = list(notes)
    begun_us: dict[tuple[str, int], int] = {}
    for row in rows:
        partition = (row.topic, row.partition)
        begun_us[partition] = min(row.at_us, begun_us.get(partition, row.at_us))
    return sorted(rows, key=lambda row: (begun_us[row.topic, row.partition], place(row)))


def parents(row: EventRow) -> tuple[str, ...]:
    """Return the ids of the events that this one says it follows from."""
    return tuple(each for each in (row.causation_id, *row.causes.split(",")) if each)


def in_order(folded: dict[str, EventRow]) -> list[EventRow]:
    """Return the events, causes before their effects and otherwise by time, whatever the machines' clocks said."""
    by_time = sorted(folded.values(), key=lambda row: (row.at_us, row.hop, place(row)))
    ordered: dict[str, EventRow] = {}
    effects: dict[str, list[EventRow]] = {}
    missing: dict[str, int] = {}
    for row in by_time:
        # An event does not wait for itself, nor for one that is not known.
        later = {each for each in parents(row) if each in folded and each not in ordered and each != row.event_id}
        if later:
            missing[row.event_id] = len(later)
            for each in later:
                effects.setdefault(each, []).append(row)
            continue
        ready = [row]
        # The list grows on the way: an effect follows the last of its causes.
        for cause in ready:
            ordered[cause.event_id] = cause
            for effect in effects.pop(cause.event_id, ()):
                missing[effect.event_id] -= 1
                if not missing[effect.event_id]:
                    ready.append(effect)
    # Events that name each other as causes are impossible, and shown all the same.
    return [*ordered.values(), *(row for row in by_time if row.event_id not in ordered)]
