"""Rows from records.

Events, journal notes and ends become the rows that the tracker judges by: bodies are decoded by their writers' schemas,
and sensitive fields are masked before anything else sees them. No service code is imported, and only schemas are kept.
`follower` calls this for every record it reads, `choreo events` and replays for those they show.
"""

import json
import logging
from datetime import date, datetime, time
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from choreo.codec import MAGIC, plain_decoder
from choreo.codec.decoder import HEAD_BYTES, Decoder
from choreo.errors import UndecodableRecord
from choreo.manifest import Manifest
from choreo.records import ENDS
from choreo.tracker.rows import ENDED, EventRow, NoteRow, microseconds
from choreo.transport import Record

TEXT_CHARS_MAX = 4000
SCHEMAS_MAX = 4096
"""Most schemas whose decoders are kept for the next `RowDecoder`: each takes milliseconds to make."""
_TEXTS = (
    *("service", "handler", "branch", "trigger", "step", "error"),
    *("event_type", "event_id", "saga_type", "actor", "command_id"),
)
"""What `NoteRow` has from a note as it is."""
_log = logging.getLogger("choreo")


class RowDecoder:
    """Reads events with every schema that was ever announced."""

    def __init__(self) -> None:
        self._decoders: dict[str, Decoder] = {}

    @property
    def fingerprints(self) -> set[str]:
        """The schemas that bodies can be decoded with, in hex."""
        return set(self._decoders)

    def learn(self, manifest: Manifest) -> None:
        """Take a manifest's schemas."""
        for fingerprint, schema in manifest.schemas.items():
            if fingerprint in self._decoders:
                continue
            try:
                self._decoders[fingerprint] = _decoder(json.dumps(schema))
            except Exception as error:  # noqa: BLE001 - one bad schema, whatever is wrong with it, must not stop the rest
                _log.warning(
                    "a schema announced by %s is passed over, its events stay undecoded: %s", manifest.key, error
                )

    def event(self, record: Record) -> EventRow:
        """Return an event's row; without payload where the writer's schema is not known yet.

        Raises:
            UndecodableRecord: If it cannot be read, or has no identity; retrying does not help.
        """
        value = record.value
        texts = _headers(record)
        saga_id = _text(record.key) or texts.get("ce_sagaid", "")
        event_id, kind = texts.get("ce_id", ""), texts.get("ce_type", "")
        if not saga_id or not event_id or not kind:
            raise UndecodableRecord("missing-id", "an event needs a key, a ce_id and a ce_type")
        if texts.get("ce_sagaid", saga_id) != saga_id:
            raise UndecodableRecord("key-mismatch", "ce_sagaid must be the record's key")
        if value is None or len(value) < HEAD_BYTES or value[:2] != MAGIC:
            raise UndecodableRecord("undecodable", "not Avro in single-object encoding")
        fingerprint = value[2:HEAD_BYTES].hex()
        decode = self._decoders.get(fingerprint)
        body = decode(value) if decode is not None else None
        hop = texts.get("ce_hop", "")
        return EventRow(
            saga_id,
            event_id,
            kind,
            record.topic,
            record.partition,
            record.offset,
            texts.get("ce_source", ""),
            texts.get("ce_causationid", ""),
            texts.get("ce_causes", ""),
            texts.get("ce_compensatesid", ""),
            texts.get("ce_branch", ""),
            int(hop) if hop.isdecimal() and len(hop) < 10 else 0,  # noqa: PLR2004 - nine digits fit the column
            _micros(texts.get("ce_time", ""), record),
            texts.get("ce_sagatype", ""),
            texts.get("ce_subject", ""),
            blake2b(value, digest_size=8).digest(),
            0,
            str(body.get("reason", ""))[:TEXT_CHARS_MAX] if body is not None else "",
            _json(body) if body is not None else None,
            fingerprint,
            texts.get("traceparent", ""),
        )


@lru_cache(SCHEMAS_MAX)
def _decoder(schema: str) -> Decoder:
    return plain_decoder(json.loads(schema))


def note_row(record: Record) -> NoteRow:
    """Return the row of a record of `choreo.journal` or `choreo.ends`.

    Raises:
        UndecodableRecord: If it is none; retrying does not help.
    """
    body = _body(record)
    ended = record.topic == ENDS
    identity = _headers(record).get("ce_id") or blake2b(record.value or b"", digest_size=16).hexdigest()
    attempt = body.get("attempt")
    return NoteRow(
        saga_id=_field(body, "saga_id") or _text(record.key),
        note_id=f"{ENDED}:{identity}" if ended else identity,
        kind=ENDED if ended else _field(body, "note"),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        reason=_field(body, "outcome" if ended else "reason"),
        **{name: _field(body, name) for name in _TEXTS},
        attempt=attempt if isinstance(attempt, int) and 0 <= attempt < 2**31 else 0,
        at_us=_micros(_field(body, "at"), record),
    )


def _headers(record: Record) -> dict[str, str]:
    try:
        return {name: value.decode() for name, value in record.headers if value is not None}
    except UnicodeDecodeError as error:
        raise UndecodableRecord("undecodable", f"a header is no text: {error}") from error


def _text(key: bytes | None) -> str:
    try:
        return (key or b"").decode()
    except UnicodeDecodeError as error:
        raise UndecodableRecord("key-mismatch", "the key is no text") from error


def _body(record: Record) -> dict[str, Any]:
    try:
        body = json.loads(record.value or b"")
    except (ValueError, RecursionError) as error:
        raise UndecodableRecord("undecodable", f"not JSON: {error}") from error
    if not isinstance(body, dict) or not (_field(body, "saga_id") or _text(record.key)):
        raise UndecodableRecord("missing-id", "a note needs a saga_id")
    return body


def _field(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    # JSON may hold lone surrogates, which no database takes.
    return value[:TEXT_CHARS_MAX].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _micros(text: str, record: Record) -> int:
    try:
        return microseconds(datetime.fromisoformat(text))
    except ValueError:
        return record.timestamp_ms * 1000


def _json(body: dict[str, Any]) -> str:
    try:
        return json.dumps(body, default=_text_of, ensure_ascii=False)
    except RecursionError as error:
        raise UndecodableRecord("undecodable", "the body is nested too deep") from error


def _text_of(value: object) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)
