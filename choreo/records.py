"""The records that are not events: journal notes, ends, dead letters and commands, and the topics that hold them.

Their names, forms and JSON are made and read here; when one is written is decided elsewhere (`step`, `runtime`, the
command line). The tracker and programs in other languages read them by the JSON Schemas in docs/.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from choreo.errors import UndecodableRecord
from choreo.event import Envelope, emitted_id
from choreo.transport import Headers, Outgoing, Record

JOURNAL = "choreo.journal"
ENDS = "choreo.ends"
COMMANDS = "choreo.commands"
MANIFESTS = "choreo.manifests"
FORMAT_VERSION = 1
TEXT_CHARS_MAX = 2000  # Of a reason or an error in a record.


def memory_topic(service: str) -> str:
    """Return the compacted topic that holds a service's memory of its sagas."""
    return f"{service}.memory"


def dlq_topic(service: str) -> str:
    """Return the topic of a service's dead letters."""
    return f"{service}.dlq"


class NoteKind(NamedTuple):
    """What a kind of journal note says of its step."""

    # How the step ended without an event: "completed" or "skipped"; "" where the note does not end it.
    settles: Literal["completed", "skipped", ""] = ""
    holds: bool = False  # The step waits, for its next attempt or for a person.
    by_person: bool = False  # A person asked for it.
    # What the step may have several such notes for: "event" or "attempt"; "" where it has one (a command).
    once_per: Literal["event", "attempt", ""] = ""


NOTE_KINDS: Mapping[str, NoteKind] = MappingProxyType(
    {
        "completed": NoteKind(settles="completed"),
        "delayed": NoteKind(),
        "skipped": NoteKind(settles="skipped"),
        "retried": NoteKind(holds=True, once_per="attempt"),
        "parked": NoteKind(holds=True),
        "resumed": NoteKind(by_person=True),
        "resolved": NoteKind(settles="completed", by_person=True),
        "refused": NoteKind(by_person=True),
        "dropped": NoteKind(settles="skipped", once_per="event"),
        "duplicate-differs": NoteKind(once_per="event"),
        "dead-lettered": NoteKind(),
        "redriven": NoteKind(by_person=True),
    }
)


class Note(NamedTuple):
    """Something to journal that is not a domain fact."""

    kind: str  # One of `NOTE_KINDS`.
    handler: str = ""  # The step's handler, "" where there is none.
    branch: str = ""  # The step's branch.
    trigger: str = ""  # The step's trigger.
    step: str = ""  # The step's idempotency key.
    causes: tuple[str, ...] = ()  # Event ids that made the step ready.
    reason: str = ""  # Why, for people.
    error: str = ""  # The exception, as text.
    event_type: str = ""  # The event concerned.
    event_id: str = ""  # Its id.
    attempt: int = 0  # Failed attempts so far; 0 where that says nothing.
    part: str = ""  # What tells it from another note about the same step: `otherwise`, or the event that is delayed.
    actor: str = ""  # The person who asked for it, "" where nobody did.
    command_id: str = ""  # The command that asked for it.


def journal(note: Note, service: str, saga_id: str, saga_type: str, now: datetime) -> Outgoing:
    """Return a note as a record of `choreo.journal`; the same note always has the same `ce_id`."""
    step = f"{service}.{note.handler}" if note.handler else service
    once_per = NOTE_KINDS[note.kind].once_per
    event = note.event_id if once_per == "event" else ""
    attempt = str(note.attempt) if once_per == "attempt" else ""
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
        "reason": note.reason[:TEXT_CHARS_MAX],
        "error": note.error[:TEXT_CHARS_MAX],
        "event_type": note.event_type,
        "event_id": note.event_id,
        "at": at,
    }
    body |= {name: value for name in ("attempt", "actor", "command_id") if (value := getattr(note, name))}
    note_id = emitted_id(saga_id, step, note.branch, note.trigger, identity)
    value = json.dumps(body, separators=(",", ":")).encode()
    return Outgoing(JOURNAL, saga_id.encode(), value, _headers(note_id, JOURNAL, service, at))


def end(envelope: Envelope, service: str, *, completed: bool, now: datetime) -> Outgoing:
    """Return the record of `choreo.ends` that goes with the event that ended a saga."""
    text, at = encode_basestring_ascii, _time(now)
    # Written for every saga: one string is a third of the work that a dict and its JSON are.
    body = (
        f'{{"version":{FORMAT_VERSION},"saga_id":{text(envelope.saga_id)},"saga_type":{text(envelope.saga_type)},'
        f'"outcome":"{"completed" if completed else "failed"}","event_type":{text(envelope.type)},'
        f'"event_id":{text(envelope.event_id)},"service":{text(service)},"at":"{at}"}}'
    )
    return Outgoing(ENDS, envelope.saga_id.encode(), body.encode(), _headers(envelope.event_id, ENDS, service, at))


class _End(Struct):
    """What is read of an end: whose it is."""

    saga_id: str
    saga_type: str = ""


_decode_end = Decoder(_End).decode


def read_end(record: Record) -> tuple[str, str]:
    """Return (saga_id, saga_type) of a record of `choreo.ends`.

    Raises:
        UndecodableRecord: If it is none; retrying does not help.
    """
    try:
        body = _decode_end(record.value or b"")
    except (MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UndecodableRecord("undecodable", f"not an end: {error!r}") from error
    if body.saga_id.encode() != record.key:
        raise UndecodableRecord("key-mismatch", "an end's saga_id must be its key")
    return body.saga_id, body.saga_type


def dead_letter(record: Record, service: str, error: UndecodableRecord, now: datetime) -> Outgoing:
    """Return a record for `<service>.dlq`: original bytes and headers, and why it could not be read."""
    about = {
        "choreo_dlq_topic": record.topic,
        "choreo_dlq_partition": str(record.partition),
        "choreo_dlq_offset": str(record.offset),
        "choreo_dlq_timestamp": str(record.timestamp_ms),
        "choreo_dlq_service": service,
        "choreo_dlq_reason": error.reason,
        "choreo_dlq_error": str(error)[:TEXT_CHARS_MAX],
        "choreo_dlq_attempts": "1",
        "choreo_dlq_failed_at": _time(now),
    }
    headers = [*record.headers, *((name, text.encode("utf-8", "replace")) for name, text in about.items())]
    return Outgoing(dlq_topic(service), record.key, record.value, headers)


class Command(BaseModel):
    """One command: who wants what done about which step, and why."""

    # A later version may say more; what it says of what is known here stays true.
    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int = Field(FORMAT_VERSION, description="Of this format.")
    command_id: str = Field(
        min_length=1, max_length=64, description="Its identity: the same id again is the same command."
    )
    command: Literal["retry", "resolve"] = Field(
        description="retry: the step is tried again from its first attempt. resolve: it is taken as done."
    )
    saga_id: str = Field(description="The saga; equals the record's key.")
    service: str = Field(description="Whose step it is.")
    handler: str = Field(description="The step's handler.")
    branch: str = Field("", description="The step's branch; empty at the root.")
    trigger: str = Field("", description="What the step runs for, as the journal has it; empty for a join.")
    actor: str = Field(min_length=1, max_length=TEXT_CHARS_MAX, description="The person who asks.")
    reason: str = Field(min_length=1, max_length=TEXT_CHARS_MAX, description="Why, for people.")
    event_type: str = Field(
        "", description="Of a resolve: the event that the step is taken to have emitted; empty for none."
    )
    payload: dict[str, Any] | None = Field(None, description="That event's fields, as JSON.")
    at: AwareDatetime = Field(description="When it was asked.")

    def to_bytes(self) -> bytes:
        """Return the record's value: JSON, without spaces."""
        return self.model_dump_json().encode()

    def to_record(self) -> Outgoing:
        """Return the record of `choreo.commands` that the command line writes."""
        headers = _headers(self.command_id, COMMANDS, "choreo/cli", _time(self.at))
        return Outgoing(COMMANDS, self.saga_id.encode(), self.to_bytes(), headers)

    @classmethod
    def from_record(cls, key: bytes | None, value: bytes | None) -> "Command":
        """Return the command that a record holds.

        Raises:
            UndecodableRecord: If it is none; retrying does not help.
        """
        try:
            command = cls.model_validate_json(value or b"")
        except (ValidationError, RecursionError) as error:
            raise UndecodableRecord("undecodable", f"not a command: {error}") from error
        if command.saga_id.encode() != key:
            raise UndecodableRecord("key-mismatch", "a command's saga_id must be its key")
        return command


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
