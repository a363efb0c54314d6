"""The records that are not events: journal notes, ends and dead letters.

Their JSON bodies and headers are made and read here; when one is written is decided elsewhere. The engine writes
them; the tracker and programs in other languages read them by the JSON Schemas in docs/.
"""

import json
import re
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii

from choreo.errors import UndecodableRecord
from choreo.event import Envelope, emitted_id
from choreo.step import Note
from choreo.transport import Headers, Outgoing, Record

JOURNAL = "choreo.journal"
ENDS = "choreo.ends"
FORMAT_VERSION = 1
ERROR_CHARS_MAX = 2000
_TEXT = rb'"([\w.:/-]*)"'
_OWN_END = re.compile(
    rb'{"version":1,"saga_id":%b,"saga_type":%b,"outcome":"(?:completed|failed)","event_type":%b,"event_id":%b,'
    rb'"service":%b,"at":%b}' % ((_TEXT,) * 6)
)


def journal(note: Note, service: str, saga_id: str, saga_type: str, now: datetime) -> Outgoing:
    """Return a note as a record of `choreo.journal`; the same note always has the same `ce_id`."""
    step = f"{service}.{note.handler}" if note.handler else service
    # A step is skipped once, and parked once a command; what differs or is dropped is told once an event, a retry once
    # an attempt.
    event = note.event_id if note.kind in {"dropped", "duplicate-differs"} else ""
    attempt = str(note.attempt) if note.kind == "retried" else ""
    at = _time(now)
    identity = f"journal:{note.kind}:{event}:{note.part}:{attempt}:{note.command_id}"
    body: dict[str, object] = {
        "version": FORMAT_VERSION,
        "note": note.kind,
        "saga_id": saga_id,
        "saga_type": saga_type,
        "service": service,
        "handler": note.handler,
        "branch": note.branch,
        "step": note.step,
        "trigger": note.trigger,
        "causes": list(note.causes),
        "reason": note.reason[:ERROR_CHARS_MAX],
        "error": note.error[:ERROR_CHARS_MAX],
        "event_type": note.event_type,
        "event_id": note.event_id,
        "at": at,
    }
    if note.attempt:
        body["attempt"] = note.attempt
    if note.actor:
        body["actor"] = note.actor
    if note.command_id:
        body["command_id"] = note.command_id
    note_id = emitted_id(saga_id, step, note.branch, note.trigger, identity)
    value = json.dumps(body, separators=(",", ":")).encode()
    return Outgoing(JOURNAL, saga_id.encode(), value, _headers(note_id, "choreo.journal", service, at))


def end(envelope: Envelope, service: str, *, completed: bool, now: datetime) -> Outgoing:
    """Return the record of `choreo.ends` that goes with the event that ended a saga."""
    text, at = encode_basestring_ascii, _time(now)
    # Written for every saga: one string is a third of the work that a dict and its JSON are.
    body = (
        f'{{"version":{FORMAT_VERSION},"saga_id":{text(envelope.saga_id)},"saga_type":{text(envelope.saga_type)},'
        f'"outcome":"{"completed" if completed else "failed"}","event_type":{text(envelope.type)},'
        f'"event_id":{text(envelope.event_id)},"service":{text(service)},"at":"{at}"}}'
    )
    return Outgoing(
        ENDS, envelope.saga_id.encode(), body.encode(), _headers(envelope.event_id, "choreo.ends", service, at)
    )


def read_end(record: Record) -> tuple[str, str]:
    """Return (saga_id, saga_type) of a record of `choreo.ends`.

    Raises:
        UndecodableRecord: If it is none; retrying does not help.
    """
    # Every service reads the end of every saga, nearly always as `end` wrote it.
    if (own := _OWN_END.fullmatch(record.value or b"")) is not None and own[1] == record.key:
        return own[1].decode(), own[2].decode()
    try:
        body = json.loads(record.value or b"")
        saga_id, saga_type = body["saga_id"], body.get("saga_type", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UndecodableRecord("undecodable", f"not an end: {error!r}") from error
    if not isinstance(saga_id, str) or not isinstance(saga_type, str) or saga_id.encode() != record.key:
        raise UndecodableRecord("key-mismatch", "an end's saga_id must be its key")
    return saga_id, saga_type


def dead_letter(record: Record, service: str, error: UndecodableRecord, now: datetime) -> Outgoing:
    """Return a record for `<service>.dlq`: original bytes and headers, and why it could not be read."""
    about = {
        "choreo_dlq_topic": record.topic,
        "choreo_dlq_partition": str(record.partition),
        "choreo_dlq_offset": str(record.offset),
        "choreo_dlq_timestamp": str(record.timestamp_ms),
        "choreo_dlq_service": service,
        "choreo_dlq_reason": error.reason,
        "choreo_dlq_error": str(error)[:ERROR_CHARS_MAX],
        "choreo_dlq_attempts": "1",
        "choreo_dlq_failed_at": _time(now),
    }
    headers = [*record.headers, *((name, text.encode("utf-8", "replace")) for name, text in about.items())]
    return Outgoing(f"{service}.dlq", record.key, record.value, headers)


def _time(now: datetime) -> str:
    return now.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _headers(ce_id: str, kind: str, service: str, at: str) -> Headers:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", ce_id.encode()),
        ("ce_type", kind.encode()),
        ("ce_source", f"/{service}".encode()),
        ("ce_time", at.encode()),
        ("content-type", b"application/json"),
    ]
