"""Recorded sagas, read from topics or from a tracker's store.

Choosing sagas and collecting all that is recorded of them lives here; what is made of it is `replayer`'s. Nothing is
written, and no group is joined. A store never had sensitive fields, which get placeholders, nor the path that led to
an event, which is found by its causes.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from choreo.clock import EPOCH
from choreo.errors import ChoreoError, SchemaError, UndecodableRecord
from choreo.handler import Kind
from choreo.manifest import Manifest
from choreo.reading import read_to_end
from choreo.records import ENDS, JOURNAL, MANIFESTS, read_end
from choreo.replay.payload_encoder import PayloadEncoder
from choreo.replay.recorded_saga import EVENTS_MAX, SAGAS_MAX, RecordedEvent, RecordedSaga, Recording
from choreo.saga import SagaState
from choreo.step.settlement import PATH_STEPS_MAX
from choreo.tracker.client import Tracker
from choreo.tracker.row_decoder import RowDecoder, note_row
from choreo.tracker.rows import EventRow, NoteRow, fold_events, in_order, parents, place
from choreo.tracker.store import Store
from choreo.transport import Headers, Record, Transport

_PREFIX = "sqlite:///"


def recorded(
    source: str | Transport, *, saga_ids: Collection[str] = (), saga_type: str | None = None, limit: int = 100
) -> Recording:
    """Return recorded sagas.

    Args:
        source: A tracker's store, as `sqlite:///tracker.db`; or brokers, a scenario's among them. A store has no
            sensitive fields: of brokers, everything is read.
        saga_ids: These sagas, whether they have ended or not; without any, those that ended last.
        saga_type: Of this type only.
        limit: At most so many of those that ended last, 1 to SAGAS_MAX.

    Raises:
        ValueError: If `limit` cannot be, or there are too many `saga_ids`.
        ChoreoError: If the store cannot be read.
        BrokerUnavailable: If no broker answers; retrying helps once one does.
    """
    if not 1 <= limit <= SAGAS_MAX or len(saga_ids) > SAGAS_MAX:
        raise ValueError(f"limit must be from 1 to {SAGAS_MAX}, and so must the number of saga_ids")
    ids = tuple(dict.fromkeys(saga_ids))
    if isinstance(source, str):
        sagas, manifests = _from_store(source, ids, saga_type, limit)
    else:
        sagas, manifests = _from_topics(source, ids, saga_type, limit)
    wanted = tuple(each for each in sagas if each.events and saga_type in {None, each.saga_type})
    return Recording(sagas=wanted, manifests=tuple(manifests), masked=isinstance(source, str))


def _saga(
    saga_id: str, ordered: Sequence[EventRow], events: Sequence[RecordedEvent], notes: Sequence[NoteRow]
) -> RecordedSaga:
    """Return a saga, named by the first of its events that names a saga type; `ordered` has causes before effects."""
    start = next((each for each in ordered if each.saga_type), next(iter(ordered), None))
    return RecordedSaga(
        saga_id=saga_id,
        saga_type=start.saga_type if start is not None else "",
        business_key=start.business_key if start is not None else "",
        events=tuple(events[:EVENTS_MAX]),
        notes=tuple(notes[:EVENTS_MAX]),
        cut=max(len(events), len(notes)) > EVENTS_MAX,
    )


# From topics.


@dataclass(slots=True)
class _SagaRecords:
    """The records of one saga that have been read so far, at most one more of each kind than `EVENTS_MAX`."""

    events: list[RecordedEvent] = field(default_factory=list)
    notes: dict[str, NoteRow] = field(default_factory=dict)

    def add(self, record: Record, decoder: RowDecoder) -> None:
        """Add a record.

        Raises:
            UndecodableRecord: If it is not what its topic holds.
        """
        if record.topic in {JOURNAL, ENDS}:
            if len(self.notes) <= EVENTS_MAX:
                noted = note_row(record)
                self.notes.setdefault(noted.note_id, noted)
        elif len(self.events) <= EVENTS_MAX:
            self.events.append(RecordedEvent(decoder.event(record), record))


def _from_topics(
    transport: Transport, saga_ids: Sequence[str], saga_type: str | None, limit: int
) -> tuple[list[RecordedSaga], list[Manifest]]:
    decoder = RowDecoder()
    manifests: list[Manifest] = []
    for record in _committed(transport, [MANIFESTS]):
        # A tracker reports those that cannot be read.
        with suppress(SchemaError):
            manifests.append(Manifest.from_bytes(record.value or b""))
            decoder.learn(manifests[-1])
    topics = sorted({event.topic for each in manifests for event in each.events.values()})
    records = {each.encode(): _SagaRecords() for each in saga_ids or _ended(transport, saga_type, limit)}
    for record in _committed(transport, [*topics, JOURNAL, ENDS]) if records else ():
        of_saga = records.get(record.key or b"")
        if of_saga is not None:
            # What cannot be read belongs to no saga: services set it aside then, and would again.
            with suppress(UndecodableRecord):
                of_saga.add(record, decoder)
    return [_from_records(key.decode(), each) for key, each in records.items()], manifests


def _from_records(saga_id: str, records: _SagaRecords) -> RecordedSaga:
    ordered = in_order(fold_events(each.seen for each in records.events))
    events = sorted(records.events, key=lambda each: each.record[:3])
    return _saga(saga_id, ordered, events, [*records.notes.values()])


def _ended(transport: Transport, saga_type: str | None, limit: int) -> list[str]:
    """Return the sagas that ended last, the last first."""
    ends: dict[str, int] = {}
    for record in _committed(transport, [ENDS]):
        with suppress(UndecodableRecord):
            saga_id, its_type = read_end(record)
            if saga_type in {None, its_type}:
                ends.setdefault(saga_id, record.timestamp_ms)
            if len(ends) > 2 * limit:
                ends = dict(_latest(ends, limit))
    return [saga_id for saga_id, _ in _latest(ends, limit)]


def _latest(ends: dict[str, int], limit: int) -> list[tuple[str, int]]:
    return sorted(ends.items(), key=lambda end: end[1], reverse=True)[:limit]


def _committed(transport: Transport, topics: Sequence[str]) -> Iterator[Record]:
    with closing(transport.reader(topics)) as reader:
        yield from read_to_end(reader)


# From a tracker's store.


def _from_store(
    url: str, saga_ids: Sequence[str], saga_type: str | None, limit: int
) -> tuple[list[RecordedSaga], list[Manifest]]:
    path = url.removeprefix(_PREFIX)
    if path == url or not Path(path).is_file():
        raise ChoreoError(f"{url}: there is no tracker's store there; it is named as {_PREFIX}tracker.db")
    with closing(Store(path)) as store, store.snapshot():
        manifests = store.manifests()
        ids = list(saga_ids) or _at_rest(Tracker(store), saga_type, limit)
        rows = store.records(ids)
    rebuilder = _EventRebuilder(manifests)
    return [rebuilder.saga(saga_id, *rows[saga_id]) for saga_id in ids], manifests


def _at_rest(tracker: Tracker, saga_type: str | None, limit: int) -> list[str]:
    """Return the sagas at rest that changed last, the last first."""
    pages = [
        tracker.sagas(type=saga_type, state=state, limit=limit).items
        for state in (SagaState.COMPLETED, SagaState.FAILED)
    ]
    latest = sorted((each for page in pages for each in page), key=lambda saga: saga.updated_at, reverse=True)
    return [each.saga_id for each in latest[:limit]]


class _EventRebuilder:
    """Makes events of a store's rows, with the schemas and handlers that were announced."""

    def __init__(self, manifests: Sequence[Manifest]) -> None:
        self._schemas = {key: schema for each in manifests for key, schema in each.schemas.items()}
        self._encoders: dict[str, PayloadEncoder] = {}
        self._guards = {
            f"{each.service}.{handler.name}": f"{each.service}.{handler.guards}"
            for each in manifests
            for handler in each.handlers
            if handler.kind == Kind.OTHERWISE
        }

    def saga(self, saga_id: str, rows: list[EventRow], notes: list[NoteRow]) -> RecordedSaga:
        """Return a saga of its rows."""
        ordered = in_order(fold_events(rows))
        paths: dict[str, tuple[str, ...]] = {}
        for each in ordered:
            before = dict.fromkeys(step for cause in parents(each) for step in paths.get(cause, ()))
            paths[each.event_id] = (*before, *self._step(each))[-PATH_STEPS_MAX:]
        events = [self._event(each, paths[each.event_id]) for each in sorted(ordered, key=place)[: EVENTS_MAX + 1]]
        return _saga(saga_id, ordered, events, notes)

    def _step(self, seen: EventRow) -> tuple[str, ...]:
        """Return the step that emitted an event, `service.handler`; () for one from outside."""
        source = seen.source.removeprefix("/").replace("/", ".")
        return (self._guards.get(source, source),) if seen.source.count("/") > 1 else ()

    def _event(self, seen: EventRow, path: tuple[str, ...]) -> RecordedEvent:
        """Return a row as the event that it was; without a value where that cannot be rebuilt."""
        encoder = self._encoder(seen.fingerprint)
        value = b""
        if encoder is not None and seen.payload is not None:
            with suppress(SchemaError):
                value = encoder.encode(json.loads(seen.payload))
        record = Record(*place(seen), seen.saga_id.encode(), value, _headers(seen, path), seen.at_us // 1000)
        return RecordedEvent(seen, record, masked=encoder is not None and encoder.masks)

    def _encoder(self, fingerprint: str) -> PayloadEncoder | None:
        if fingerprint not in self._encoders and fingerprint in self._schemas:
            with suppress(SchemaError):
                self._encoders[fingerprint] = PayloadEncoder(self._schemas[fingerprint], fingerprint)
        return self._encoders.get(fingerprint)


def _headers(seen: EventRow, path: tuple[str, ...]) -> Headers:
    headers = {
        "ce_id": seen.event_id,
        "ce_type": seen.type,
        "ce_source": seen.source,
        "ce_time": (EPOCH + timedelta(microseconds=seen.at_us)).isoformat(),
        "ce_sagaid": seen.saga_id,
        "ce_sagatype": seen.saga_type,
        "ce_subject": seen.business_key,
        "ce_causationid": seen.causation_id,
        "ce_causes": seen.causes,
        "ce_compensatesid": seen.compensates_id,
        "ce_branch": seen.branch,
        "ce_hop": str(seen.hop or ""),
        "ce_path": ",".join(path),
        "traceparent": seen.traceparent,
    }
    return [(name, text.encode()) for name, text in headers.items() if text]
