"""A memory and its bytes.

What a memory holds together and its compact binary form live here; the parts do not (`record`). The layout is private
to choreo: a version byte, flags, the time of the end and of the next timer come first, so that a sweep can tell what
may be forgotten, and a restored partition what is due, without decoding the rest.
"""

import struct
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import NamedTuple, TypeVar

from choreo.errors import UndecodableRecord
from choreo.memory.record import (
    HOP_MAX,
    Fence,
    FenceKey,
    Flag,
    Recorded,
    Status,
    Timer,
    TimerKey,
    TimerKind,
    Waiting,
)
from choreo.tuples import maker

FORMAT_VERSION = 2
_HEAD = struct.Struct(">BBQQ")
_FENCE_TAIL = struct.Struct(">BI")
_RECORDED_TAIL = struct.Struct(">BHqI")
_TIMER_TAIL = struct.Struct(">BQI")
_WAITING_TAIL = struct.Struct(">I?")
# Lengths are written in base 128, the high bit saying that more follows (as Avro and Protocol Buffers do).
_CONTINUES = 0x80
_LENGTHS = tuple(bytes((n,)) for n in range(_CONTINUES))
NAMES_MAX = 4096
"""Names whose bytes are kept."""
_NOTHING_WAITS = _LENGTHS[0] * 4
_STATUSES = {int(status): status for status in Status}
_BUSY = frozenset({Status.PARKED, Status.RETRYING})
T = TypeVar("T")


class Peek(NamedTuple):
    """What can be told of an encoded memory without decoding it.

    Attributes:
        flags: Bits of `Flag`.
        ended_ms: When the saga's end was read; 0 before.
        due_ms: When its first timer is due; 0 for never.
    """

    flags: int
    ended_ms: int
    due_ms: int


_UNREADABLE = Peek(0, 0, 0)
_peek = maker(Peek)


class Memory:
    """One service's record of one saga; owned by whoever decoded it.

    Attributes:
        flags: What has happened, as a sweep can read it.
        ended_ms: When this service read the saga's end, in milliseconds since 1970; 0 before.
        terminal_id: The event that ended the saga, in its owner's memory.
        state: The handlers' `State` as JSON; empty before it is first used.
        fences: Steps that have run, were skipped, are retrying or are parked.
        events: Recorded events by event_id, in the order they came.
        held: Events that have come and whose turn has not: in an owner before the start, or behind a retrying step.
        timers: What is to be done later.
        waiting: Retrying and parked steps.
        owed: Steps whose outputs may not be published yet (SEMANTICS 10, at least once).
    """

    __slots__ = ("ended_ms", "events", "fences", "flags", "held", "owed", "state", "terminal_id", "timers", "waiting")

    def __init__(self) -> None:
        self.flags = 0
        self.ended_ms = 0
        self.terminal_id = ""
        self.state = b""
        self.fences: dict[FenceKey, Fence] = {}
        self.events: dict[str, Recorded] = {}
        self.held: dict[str, Recorded] = {}
        self.timers: dict[TimerKey, Timer] = {}
        self.waiting: dict[FenceKey, Waiting] = {}
        self.owed: dict[FenceKey, None] = {}

    @property
    def due_ms(self) -> int:
        """When its first timer is due, in milliseconds since 1970; 0 for never."""
        return min((each.due_ms for each in self.timers.values()), default=0)

    def encode(self) -> bytes:
        """Return the changelog form; `decode` gives the same memory back."""
        flags = self.flags & ~(Flag.BUSY | Flag.OWED)
        parts = [b"", _text(self.terminal_id), _blob(self.state), _length(len(self.fences))]
        for (handler, branch, trigger), fence in self.fences.items():
            parts += (_name(handler), _name(branch), _text(trigger), _FENCE_TAIL.pack(*fence))
            if fence[0] in _BUSY:
                flags |= Flag.BUSY
        parts.append(_length(len(self.events)))
        for event in self.events.values():
            parts.append(_encode_recorded(event))
        due_ms = 0
        if self.held or self.timers or self.waiting or self.owed:
            due_ms = self.due_ms
            flags |= Flag.BUSY * bool(self.held) | Flag.OWED * bool(self.owed)
            _encode_waiting(self, parts)
        else:
            parts.append(_NOTHING_WAITS)
        parts[0] = _HEAD.pack(FORMAT_VERSION, flags, self.ended_ms, due_ms)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> "Memory":
        """Return the memory that `encode` wrote.

        Raises:
            UndecodableRecord: If the bytes are damaged or of another version; retrying does not help.
        """
        memory = cls()
        try:
            version, memory.flags, memory.ended_ms, _ = _HEAD.unpack_from(data)
            if version != FORMAT_VERSION:
                text = f"memory format {version}, and this choreo reads {FORMAT_VERSION}"
                raise UndecodableRecord("memory-unreadable", text)
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
            at = _read_events(data, at, memory.events)
            if data[at : at + len(_NOTHING_WAITS)] == _NOTHING_WAITS:
                at += len(_NOTHING_WAITS)
            else:
                at = _read_waiting(memory, data, at)
        except (struct.error, LookupError, ValueError) as error:
            raise UndecodableRecord("memory-unreadable", f"damaged memory record: {error}") from error
        if at != len(data):
            raise UndecodableRecord("memory-unreadable", f"{len(data) - at} bytes too many in a memory record")
        return memory


def _encode_waiting(memory: Memory, parts: list[bytes]) -> None:
    parts.append(_length(len(memory.held)))
    parts += [_encode_recorded(event) for event in memory.held.values()]
    parts.append(_length(len(memory.timers)))
    for (kind, handler, branch, trigger, index), timer in memory.timers.items():
        parts += (
            _text(handler),
            _text(branch),
            _text(trigger),
            _TIMER_TAIL.pack(kind, timer.due_ms, index),
            _texts(timer.unless),
            _length(0) if timer.event is None else _length(1) + _encode_recorded(timer.event),
        )
    parts.append(_length(len(memory.waiting)))
    for (handler, branch, trigger), step in memory.waiting.items():
        parts += (
            _text(handler),
            _text(branch),
            _text(trigger),
            _WAITING_TAIL.pack(step.attempt, step.spent),
            _text(step.error),
            _length(len(step.events)),
            *map(_texts, step.events),
            _texts(step.causes),
            _text(step.ready),
            _text(step.compensates_id),
            _text(step.undoes_key),
            _text(step.command_id),
        )
    parts.append(_length(len(memory.owed)))
    for key in memory.owed:
        parts += map(_text, key)


def _read_events(data: bytes, at: int, events: dict[str, Recorded]) -> int:
    count, at = _read_length(data, at)
    for _ in range(count):
        event, at = _decode_recorded(data, at)
        events[event.event_id] = event
    return at


def _read_waiting(memory: Memory, data: bytes, at: int) -> int:
    at = _read_events(data, at, memory.held)
    count, at = _read_length(data, at)
    for _ in range(count):
        (handler, branch, trigger), at = _read_many(data, at, 3, _read_text)
        kind, due_ms, index = _TIMER_TAIL.unpack_from(data, at)
        unless, at = _read_texts(data, at + _TIMER_TAIL.size)
        has_event, at = _read_length(data, at)
        event, at = _decode_recorded(data, at) if has_event else (None, at)
        memory.timers[TimerKind(kind), handler, branch, trigger, index] = Timer(due_ms, event, unless)
    count, at = _read_length(data, at)
    for _ in range(count):
        (handler, branch, trigger), at = _read_many(data, at, 3, _read_text)
        attempt, spent = _WAITING_TAIL.unpack_from(data, at)
        error, at = _read_text(data, at + _WAITING_TAIL.size)
        parameters, at = _read_length(data, at)
        events, at = _read_many(data, at, parameters, _read_texts)
        causes, at = _read_texts(data, at)
        rest, at = _read_many(data, at, 4, _read_text)
        memory.waiting[handler, branch, trigger] = Waiting(attempt, spent, error, events, causes, *rest)
    count, at = _read_length(data, at)
    for _ in range(count):
        (handler, branch, trigger), at = _read_many(data, at, 3, _read_text)
        memory.owed[handler, branch, trigger] = None
    if not memory.waiting.keys() <= memory.fences.keys():
        raise ValueError("a step waits that was never taken")
    if any(key[0] is not TimerKind.RETRY and timer.event is None for key, timer in memory.timers.items()):
        raise ValueError("something is due, and nobody knows for what event")
    return at


def with_end(data: bytes, ended_ms: int) -> bytes | None:
    """Return an encoded memory whose saga's end was read at this time, the rest as it was, without decoding it.

    None where something is to be done later, which the end may call off, and where the bytes are not of this version:
    then only `decode` helps, or says what is wrong with them.
    """
    if len(data) < _HEAD.size or data[0] != FORMAT_VERSION:
        return None
    version, flags, _, due_ms = _HEAD.unpack_from(data)
    if due_ms or flags & Flag.OWED:
        return None
    return _HEAD.pack(version, flags, ended_ms, due_ms) + data[_HEAD.size :]


def peek(data: bytes) -> Peek:
    """Return what can be told of an encoded memory without decoding it; nothing of one that cannot be read."""
    if len(data) < _HEAD.size or data[0] != FORMAT_VERSION:
        return _UNREADABLE
    return _peek(_HEAD.unpack_from(data)[1:])


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


# Handlers' names come again and again, branches nearly so.
_name = lru_cache(NAMES_MAX)(_text)


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


def _texts(texts: Collection[str]) -> bytes:
    return _length(len(texts)) + b"".join(map(_text, texts))


def _read_texts(data: bytes, at: int) -> tuple[tuple[str, ...], int]:
    count, at = _read_length(data, at)
    return _read_many(data, at, count, _read_text)


def _read_many(
    data: bytes, at: int, count: int, read: Callable[[bytes, int], tuple[T, int]]
) -> tuple[tuple[T, ...], int]:
    found = []
    for _ in range(count):
        each, at = read(data, at)
        found.append(each)
    return tuple(found), at


_MINE, _READ = 1, 2


def _encode_recorded(event: Recorded) -> bytes:
    marks = event.mine * _MINE | event.read * _READ
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
            _text(event.traceparent),
            _text(event.tracestate),
            _blob(event.body),
            _RECORDED_TAIL.pack(marks, min(event.hop, HOP_MAX), event.occurred_us, event.check),
        )
    )


def _decode_recorded(data: bytes, at: int) -> tuple[Recorded, int]:
    texts, at = _read_many(data, at, 14, _read_text)
    body, at = _read_blob(data, at)
    marks, hop, occurred_us, check = _RECORDED_TAIL.unpack_from(data, at)
    event_id, kind, branch, source, causation_id, causes, compensates_id, path, saga_type, key, *rest = texts
    step, trigger, traceparent, tracestate = rest
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
        saga_type=saga_type,
        business_key=key,
        step=step,
        trigger=trigger,
        traceparent=traceparent,
        tracestate=tracestate,
    )
    return event, at + _RECORDED_TAIL.size
