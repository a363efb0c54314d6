"""Recorded sagas, read from a tracker's store.

Choosing sagas there and making records of the rows that the tracker keeps lives here; putting bodies together again
does not (`body`). What a store never had is made up for: sensitive fields have stand-ins, and the way that led to an
event is found by its causes.
"""

import json
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

from choreo.errors import ChoreoError, SchemaError
from choreo.handler import Kind
from choreo.manifest import Manifest
from choreo.replay.body import Body
from choreo.replay.recording import EVENTS_MAX, RecordedEvent, RecordedSaga, Recording, Wanted
from choreo.saga import SagaState
from choreo.schema.forms import EPOCH
from choreo.step.settle import PATH_STEPS_MAX
from choreo.tracker.reading import Tracker
from choreo.tracker.seen import Noted, Seen, fold_events, in_order, parents, place
from choreo.tracker.store import Store
from choreo.transport import Headers, Record

_PREFIX = "sqlite:///"


def stored(url: str, wanted: Wanted) -> Recording:
    """Return what a tracker's store has recorded.

    Args:
        url: `sqlite:///` and a path.
        wanted: Which sagas.

    Raises:
        ChoreoError: If there is no such store, or it cannot be read.
    """
    path = url.removeprefix(_PREFIX)
    if path == url or not Path(path).is_file():
        raise ChoreoError(f"{url}: there is no tracker's store there; it is named as {_PREFIX}tracker.db")
    with closing(Store(path)) as store, store.snapshot():
        manifests = _manifests(store)
        ids = list(wanted.saga_ids) or _rested(Tracker(store), wanted)
        rows = store.records(ids)
    bodies = _Bodies(manifests)
    sagas = [_saga(saga_id, *rows[saga_id], bodies) for saga_id in ids]
    of_type = [each for each in sagas if each.events and wanted.saga_type in {None, each.saga_type}]
    return Recording(sagas=tuple(of_type), manifests=tuple(manifests), masked=True)


def _manifests(store: Store) -> list[Manifest]:
    found: list[Manifest] = []
    for body in store.manifests():
        # The follower has counted what cannot be read.
        with suppress(SchemaError):
            found.append(Manifest.from_bytes(body))
    return found


def _rested(tracker: Tracker, wanted: Wanted) -> list[str]:
    """Return the sagas at rest that changed last, the last first."""
    pages = [
        tracker.sagas(type=wanted.saga_type, state=state, limit=wanted.limit).items
        for state in (SagaState.COMPLETED, SagaState.FAILED)
    ]
    latest = sorted((each for page in pages for each in page), key=lambda saga: saga.updated_at, reverse=True)
    return [each.saga_id for each in latest[: wanted.limit]]


class _Bodies:
    """Makes records of rows, with the schemas and handlers that were announced."""

    def __init__(self, manifests: Sequence[Manifest]) -> None:
        self._schemas = {key: schema for each in manifests for key, schema in each.schemas.items()}
        self._made: dict[str, Body] = {}
        self._guards = {
            f"{each.service}.{handler.name}": f"{each.service}.{handler.guards}"
            for each in manifests
            for handler in each.handlers
            if handler.kind == Kind.OTHERWISE
        }

    def step(self, seen: Seen) -> tuple[str, ...]:
        """Return the step that emitted an event, `service.handler`; () for one from outside."""
        source = seen.source.removeprefix("/").replace("/", ".")
        return (self._guards.get(source, source),) if seen.source.count("/") > 1 else ()

    def event(self, seen: Seen, path: tuple[str, ...]) -> RecordedEvent:
        """Return a row as the event that it was; without a value where that cannot be made."""
        body = self._body(seen.fingerprint)
        value = b""
        if body is not None and seen.payload is not None:
            with suppress(SchemaError):
                value = body.value(json.loads(seen.payload))
        record = Record(*place(seen), seen.saga_id.encode(), value, _headers(seen, path), seen.at_us // 1000)
        return RecordedEvent(seen, record, masked=body is not None and body.masks)

    def _body(self, fingerprint: str) -> Body | None:
        if fingerprint not in self._made and fingerprint in self._schemas:
            with suppress(SchemaError):
                self._made[fingerprint] = Body(self._schemas[fingerprint], fingerprint)
        return self._made.get(fingerprint)


def _saga(saga_id: str, rows: list[Seen], notes: list[Noted], bodies: _Bodies) -> RecordedSaga:
    told = in_order(fold_events(rows))
    paths: dict[str, tuple[str, ...]] = {}
    for each in told:
        led = dict.fromkeys(step for cause in parents(each) for step in paths.get(cause, ()))
        paths[each.event_id] = (*led, *bodies.step(each))[-PATH_STEPS_MAX:]
    start = next((each for each in told if each.saga_type), None)
    return RecordedSaga(
        saga_id=saga_id,
        saga_type=start.saga_type if start is not None else "",
        business_key=start.business_key if start is not None else "",
        events=tuple(bodies.event(each, paths[each.event_id]) for each in sorted(told, key=place)[:EVENTS_MAX]),
        notes=tuple(notes[:EVENTS_MAX]),
        cut=len(told) > EVENTS_MAX or len(notes) > EVENTS_MAX,
    )


def _headers(seen: Seen, path: tuple[str, ...]) -> Headers:
    at = EPOCH + timedelta(microseconds=seen.at_us)
    told = {
        "ce_id": seen.event_id,
        "ce_type": seen.type,
        "ce_source": seen.source,
        "ce_time": at.isoformat(),
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
    return [(name, text.encode()) for name, text in told.items() if text]
