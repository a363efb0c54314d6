"""Recorded sagas, read from topics.

Choosing sagas by their ends and collecting all that the topics hold of them lives here; a tracker's store is read by
`stored`, and what is made of either is `guard`'s. Nothing is written, and no group is joined.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field

from choreo.errors import BrokerUnavailable, SchemaError, UndecodableRecord
from choreo.manifest import Manifest
from choreo.replay.recording import EVENTS_MAX, SAGAS_MAX, RecordedEvent, RecordedSaga, Recording, Wanted
from choreo.replay.stored import stored
from choreo.runtime.catalog import MANIFESTS
from choreo.runtime.notes import ENDS, JOURNAL, read_end
from choreo.tracker.decoding import Decoder, end, note
from choreo.tracker.seen import Noted, Seen, fold_events, in_order
from choreo.transport import Record, Transport

POLL_S = 0.5
RECORDS_MAX = 1000
SILENCE_S_MAX = 30.0
"""How long brokers may answer nothing before reading is given up."""


def recorded(
    source: str | Transport, *, saga_ids: Collection[str] = (), saga_type: str | None = None, limit: int = 100
) -> Recording:
    """Return recorded sagas.

    Args:
        source: A tracker's store, as `sqlite:///tracker.db`; or brokers, a scenario's among them. A store has no
            sensitive fields: of brokers, everything is read.
        saga_ids: These sagas; without any, those that ended last.
        saga_type: Of this type only.
        limit: At most so many of those that ended last, 1 to SAGAS_MAX.

    Raises:
        ValueError: If `limit` cannot be, or there are too many `saga_ids`.
        ChoreoError: If the store cannot be read.
        BrokerUnavailable: If no broker answers; retrying helps once one does.
    """
    if not 1 <= limit <= SAGAS_MAX or len(saga_ids) > SAGAS_MAX:
        raise ValueError(f"limit must be from 1 to {SAGAS_MAX}, and so must the number of saga_ids")
    wanted = Wanted(tuple(dict.fromkeys(saga_ids)), saga_type, limit)
    return stored(source, wanted) if isinstance(source, str) else _read(source, wanted)


@dataclass(slots=True)
class _Found:
    """What was found of one saga so far."""

    events: list[RecordedEvent] = field(default_factory=list)
    notes: dict[str, Noted] = field(default_factory=dict)
    cut: bool = False


def _read(transport: Transport, wanted: Wanted) -> Recording:
    decoder = Decoder()
    manifests = list(_manifests(transport, decoder))
    topics = sorted({event.topic for each in manifests for event in each.events.values()})
    ids = wanted.saga_ids or _ended(transport, wanted)
    found = {each.encode(): _Found() for each in ids}
    for record in _whole(transport, [*topics, JOURNAL, ENDS]) if found else ():
        of = found.get(record.key or b"")
        if of is not None:
            # What cannot be read belongs to no saga: services set it aside then, and would again.
            with suppress(UndecodableRecord):
                _take(of, record, decoder)
    sagas = [_saga(saga_id, found[saga_id.encode()]) for saga_id in ids]
    of_type = [each for each in sagas if each.events and wanted.saga_type in {None, each.saga_type}]
    return Recording(sagas=tuple(of_type), manifests=tuple(manifests))


def _manifests(transport: Transport, decoder: Decoder) -> Iterator[Manifest]:
    for record in _whole(transport, [MANIFESTS]):
        if record.value is not None:
            with suppress(SchemaError):
                manifest = Manifest.from_bytes(record.value)
                decoder.learn(manifest)
                yield manifest


def _ended(transport: Transport, wanted: Wanted) -> tuple[str, ...]:
    """Return the sagas that ended last, the last first."""
    ends: dict[str, int] = {}
    for record in _whole(transport, [ENDS]):
        with suppress(UndecodableRecord):
            saga_id, saga_type = read_end(record)
            if wanted.saga_type in {None, saga_type}:
                ends.setdefault(saga_id, record.timestamp_ms)
            if len(ends) > 2 * wanted.limit:
                ends = dict(_latest(ends, wanted.limit))
    return tuple(saga_id for saga_id, _ in _latest(ends, wanted.limit))


def _latest(ends: dict[str, int], limit: int) -> list[tuple[str, int]]:
    return sorted(ends.items(), key=lambda end: end[1], reverse=True)[:limit]


def _take(of: _Found, record: Record, decoder: Decoder) -> None:
    """Add a record to what was found of its saga.

    Raises:
        UndecodableRecord: If it is not what its topic holds.
    """
    if record.topic in {JOURNAL, ENDS}:
        told = end(record) if record.topic == ENDS else note(record)
        if len(of.notes) < EVENTS_MAX or told.note_id in of.notes:
            of.notes.setdefault(told.note_id, told)
        else:
            of.cut = True
        return
    seen = decoder.event(record)
    if len(of.events) < EVENTS_MAX:
        of.events.append(RecordedEvent(seen, record))
    else:
        of.cut = True


def _saga(saga_id: str, found: _Found) -> RecordedSaga:
    start = _start([each.seen for each in found.events])
    return RecordedSaga(
        saga_id=saga_id,
        saga_type=start.saga_type if start is not None else "",
        business_key=start.business_key if start is not None else "",
        events=tuple(sorted(found.events, key=lambda each: each.record[:3])),
        notes=tuple(found.notes.values()),
        cut=found.cut,
    )


def _start(events: Sequence[Seen]) -> Seen | None:
    """Return the event that tells most about a saga: the first of all that names its type."""
    told = in_order(fold_events(events))
    return next((each for each in told if each.saga_type), next(iter(told), None))


def _whole(transport: Transport, topics: Sequence[str]) -> Iterator[Record]:
    """Yield all committed records of topics, up to where they ended at first.

    Raises:
        BrokerUnavailable: If nothing has come for a while, and not all has been read.
    """
    with closing(transport.reader(topics)) as reader:
        ends = reader.ends()
        read = dict.fromkeys(ends, 0)
        heard = time.monotonic()
        while any(read[position] < at for position, at in ends.items()):
            records = reader.poll(POLL_S, RECORDS_MAX)
            for record in records:
                read[record.topic, record.partition] = record.offset + 1
                yield record
            if records:
                heard = time.monotonic()
                continue
            # A transaction's mark takes an offset that no record has: the reader knows what it has passed.
            passed = reader.ends()
            ends = {position: min(at, passed.get(position, at)) for position, at in ends.items()}
            if time.monotonic() - heard > SILENCE_S_MAX:
                raise BrokerUnavailable(f"nothing has come for {SILENCE_S_MAX:g} s, and not all has been read")
