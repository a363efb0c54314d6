"""What one service remembers of one saga, and its bytes.

Fences, recorded events, the owner's view of the end and the handlers' `State` live here, with the compact binary
form that travels on `<service>.memory`. No rule about what to do lives here; `step` decides and `runtime` keeps the
bytes. The layout is private to choreo: a version byte, flags and the time of the end come first, so that a sweep can
tell what may be forgotten without decoding the rest.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from choreo.errors import UndecodableRecord

FORMAT_VERSION = 1
_HEAD = struct.Struct(">BBQ")
_FENCE_TAIL = struct.Struct(">BI")
_RECORDED_TAIL = struct.Struct(">BHqI")
# Lengths are written in base 128, the high bit saying that more follows (as Avro and Protocol Buffers do).
_CONTINUES = 0x80
_LENGTHS = tuple(bytes((n,)) for n in range(_CONTINUES))
HOP_MAX = 0xFFFF

FenceKey = tuple[str, str, str]
"""Handler name, branch, trigger: what makes two executions the same step."""


class Flag:
    """What a sweep may want to know without decoding; plain bits, for an enum's operators cost a microsecond each."""

    STARTED = 1
    ABORTED = 2
    COMPLETED = 4
    FAILED = 8
    PARKED = 16


class Status(IntEnum):
    """How far a step has come; a step without a fence has not run."""

    DONE = 1
    SKIPPED = 2
    PARKED = 3


_STATUSES = {int(status): status for status in Status}


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
    branch: str = ""
    hop: int = 0
    occurred_us: int = 0
    source: str = ""
    causation_id: str = ""
    causes: tuple[str, ...] = ()
    compensates_id: str = ""
    path: tuple[str, ...] = ()
    body: bytes = b""
    check: int = 0
    mine: bool = False
    read: bool = True
    held: bool = False
    saga_type: str = ""
    business_key: str = ""
    step: str = ""
    trigger: str = ""


class Memory:
    """One service's record of one saga; owned by whoever decoded it.

    Attributes:
        flags: What has happened, as a sweep can read it.
        ended_ms: When this service read the saga's end, in milliseconds since 1970; 0 before.
        terminal_id: The event that ended the saga, in its owner's memory.
        state: The handlers' `State` as JSON; empty before it is first used.
        fences: Steps that have run, were skipped or are parked.
        events: Recorded events by event_id, in the order they came.
    """

    __slots__ = ("ended_ms", "events", "fences", "flags", "state", "terminal_id")

    def __init__(self) -> None:
        self.flags = 0
        self.ended_ms = 0
        self.terminal_id = ""
        self.state = b""
        self.fences: dict[FenceKey, Fence] = {}
        self.events: dict[str, Recorded] = {}

    def encode(self) -> bytes:
        """Return the changelog form; `decode` gives the same memory back."""
        flags = self.flags & ~Flag.PARKED
        parts = [b"", _text(self.terminal_id), _blob(self.state), _length(len(self.fences))]
        for (handler, branch, trigger), fence in self.fences.items():
            parts += (_text(handler), _text(branch), _text(trigger), _FENCE_TAIL.pack(*fence))
            if fence[0] == Status.PARKED:
                flags |= Flag.PARKED
        parts.append(_length(len(self.events)))
        for event in self.events.values():
            parts.append(_encode_recorded(event))
        parts[0] = _HEAD.pack(FORMAT_VERSION, flags, self.ended_ms)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> "Memory":
        """Return the memory that `encode` wrote.

        Raises:
            UndecodableRecord: If the bytes are damaged or of another version; retrying does not help.
        """
        memory = cls()
        try:
            version, memory.flags, memory.ended_ms = _HEAD.unpack_from(data)
            if version != FORMAT_VERSION:
                raise UndecodableRecord("memory-unreadable", f"memory format {version}, this choreo reads 1")
            memory.terminal_id, at = _read_text(data, _HEAD.size)
            memory.state, at = _read_blob(data, at)
            count, at = _read_length(data, at)
            for _ in range(count):
                handler, at = _read_text(data, at)
                branch, at = _read_text(data, at)
                trigger, at = _read_text(data, at)
                status, check = _FENCE_TAIL.unpack_from(data, at)
                at += _FENCE_TAIL.size
                memory.fences[handler, branch, trigger] = Fence(_STATUSES[status], check)
            count, at = _read_length(data, at)
            for _ in range(count):
                event, at = _decode_recorded(data, at)
                memory.events[event.event_id] = event
        except (struct.error, LookupError, ValueError) as error:
            raise UndecodableRecord("memory-unreadable", f"damaged memory record: {error}") from error
        if at != len(data):
            raise UndecodableRecord("memory-unreadable", f"{len(data) - at} bytes too many in a memory record")
        return memory


def with_end(data: bytes, ended_ms: int) -> bytes | None:
    """Return an encoded memory whose saga's end was read at this time, the rest as it was, without decoding it.

    None where the bytes are not of this version; `decode` says what is wrong with them.
    """
    if len(data) < _HEAD.size or data[0] != FORMAT_VERSION:
        return None
    version, flags, _ = _HEAD.unpack_from(data)
    return _HEAD.pack(version, flags, ended_ms) + data[_HEAD.size :]


def peek(data: bytes) -> tuple[int, int]:
    """Return (flags, ended_ms) of an encoded memory without decoding it; (0, 0) where it cannot be read."""
    if len(data) < _HEAD.size or data[0] != FORMAT_VERSION:
        return 0, 0
    _, flags, ended_ms = _HEAD.unpack_from(data)
    return flags, ended_ms


def _length(n: int) -> bytes:
    if n < _CONTINUES:
        return _LENGTHS[n]
    parts = bytearray()
    while n >= _CONTINUES:
        parts.append(n & 0x7F | _CONTINUES)
        n >>= 7
    parts.append(n)
    return bytes(parts)


def _text(text: str) -> bytes:
    data = text.encode()
    return _length(len(data)) + data


def _blob(data: bytes) -> bytes:
    return _length(len(data)) + data


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    at += 1
    if value < _CONTINUES:
        return value, at
    value &= 0x7F
    shift = 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < _CONTINUES:
            break
        shift += 7
    if value > len(data):
        raise ValueError("a length beyond the record's end")
    return value, at


def _read_blob(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _read_length(data, at)
    end = at + size
    if end > len(data):
        raise ValueError("a field beyond the record's end")
    return data[at:end], end


def _read_text(data: bytes, at: int) -> tuple[str, int]:
    blob, at = _read_blob(data, at)
    return blob.decode(), at


_MINE, _READ, _HELD = 1, 2, 4


def _encode_recorded(event: Recorded) -> bytes:
    marks = event.mine * _MINE | event.read * _READ | event.held * _HELD
    return b"".join(
        (
            _text(event.event_id),
            _text(event.type),
            _text(event.branch),
            _text(event.source),
            _text(event.causation_id),
            _text(",".join(event.causes)),
            _text(event.compensates_id),
            _text(",".join(event.path)),
            _text(event.saga_type),
            _text(event.business_key),
            _text(event.step),
            _text(event.trigger),
            _blob(event.body),
            _RECORDED_TAIL.pack(marks, min(event.hop, HOP_MAX), event.occurred_us, event.check),
        )
    )


def _decode_recorded(data: bytes, at: int) -> tuple[Recorded, int]:
    texts = []
    for _ in range(12):
        text, at = _read_text(data, at)
        texts.append(text)
    body, at = _read_blob(data, at)
    marks, hop, occurred_us, check = _RECORDED_TAIL.unpack_from(data, at)
    event_id, kind, branch, source, causation_id, causes, compensates_id, path, saga_type, key, step, trigger = texts
    event = Recorded(
        event_id=event_id,
        type=kind,
        branch=branch,
        hop=hop,
        occurred_us=occurred_us,
        source=source,
        causation_id=causation_id,
        causes=tuple(causes.split(",")) if causes else (),
        compensates_id=compensates_id,
        path=tuple(path.split(",")) if path else (),
        body=body,
        check=check,
        mine=bool(marks & _MINE),
        read=bool(marks & _READ),
        held=bool(marks & _HELD),
        saga_type=saga_type,
        business_key=key,
        step=step,
        trigger=trigger,
    )
    return event, at + _RECORDED_TAIL.size
