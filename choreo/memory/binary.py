"""A memory and its bytes.

What a memory holds together and its compact form live here; the parts do not (`record`). The layout is private to
choreo: a version byte, flags, the time of the end and of the next timer come first, so that a sweep can tell what may
be forgotten, and a restored partition what is due, without decoding the rest, which is MessagePack.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from choreo.errors import UndecodableRecord
from choreo.memory import legacy_binary
from choreo.memory.record import (
    HOP_MAX,
    Fence,
    FenceKey,
    MemoryBody,
    MemoryFlag,
    Recorded,
    Status,
    Timer,
    TimerKey,
    TimerKind,
    Waiting,
)

VERSION = 3
_BUSY = frozenset({Status.PARKED, Status.RETRYING})
# Bits of a head beside those of `MemoryFlag`: which times follow the flags.
_HAS_END, _HAS_DUE = 64, 128
_HEADS = tuple(bytes((VERSION, flags)) for flags in range(256))
_FLAGS_END = len(_HEADS[0])
_time = struct.Struct(">Q")
_DEFAULTS = tuple(Recorded._field_defaults.get(name) for name in Recorded._fields)


class Peek(NamedTuple):
    """What can be told of an encoded memory without decoding it.

    Attributes:
        flags: Bits of `MemoryFlag`.
        ended_ms: When the saga's end was read; 0 before.
        due_ms: When its first timer is due; 0 for never.
    """

    flags: int
    ended_ms: int
    due_ms: int


_UNREADABLE = Peek(0, 0, 0)


_NOTHING_WAITS: tuple[object, ...] = [], {}, {}, []
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(MemoryBody).decode


class Memory(msgspec.Struct, eq=False):
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

    flags: int = 0
    ended_ms: int = 0
    terminal_id: str = ""
    state: bytes = b""
    fences: dict[FenceKey, Fence] = {}
    events: dict[str, Recorded] = {}
    held: dict[str, Recorded] = {}
    timers: dict[TimerKey, Timer] = {}
    waiting: dict[FenceKey, Waiting] = {}
    owed: dict[FenceKey, None] = {}

    @property
    def due_ms(self) -> int:
        """When its first timer is due, in milliseconds since 1970; 0 for never."""
        return min((timer.due_ms for timer in self.timers.values()), default=0)

    def encode(self) -> bytes:
        """Return the changelog form; `decode` gives the same memory back."""
        flags = self.flags & ~(MemoryFlag.BUSY | MemoryFlag.OWED)
        for fence in self.fences.values():
            if fence[0] in _BUSY:
                flags |= MemoryFlag.BUSY
        due_ms, waits = 0, _NOTHING_WAITS
        if self.held or self.timers or self.waiting or self.owed:
            due_ms = self.due_ms
            flags |= MemoryFlag.BUSY * bool(self.held) | MemoryFlag.OWED * bool(self.owed)
            timers = {
                key: (timer.due_ms, timer.event and _short(timer.event), timer.unless)
                for key, timer in self.timers.items()
            }
            waits = [_short(event) for event in self.held.values()], timers, self.waiting, [*self.owed]
        events = [_short(event) for event in self.events.values()]
        return _head(flags, self.ended_ms, due_ms) + _encode(
            (self.terminal_id, self.state, self.fences, events, *waits)
        )

    @classmethod
    def decode(cls, data: bytes) -> "Memory":
        """Return the memory that `encode` wrote, or one of format version 2.

        Raises:
            UndecodableRecord: If the bytes are damaged or of another version; retrying does not help.
        """
        try:
            head, size = _head_of(data)
            body = legacy_binary.read(data) if data[0] == legacy_binary.VERSION else _decode(data[size:])
            _check(body.fences, body.timers, body.waiting)
        # A damaged name may be an `IndexError`, damaged MessagePack is a `ValueError`.
        except (struct.error, LookupError, ValueError) as error:
            raise UndecodableRecord("memory-unreadable", f"damaged memory record: {error}") from error
        return cls(
            head.flags,
            head.ended_ms,
            body.terminal_id,
            body.state,
            body.fences,
            {event.event_id: event for event in body.events},
            {event.event_id: event for event in body.held},
            body.timers,
            body.waiting,
            dict.fromkeys(body.owed),
        )


def peek(data: bytes) -> Peek:
    """Return what can be told of an encoded memory without decoding it; nothing of one that cannot be read."""
    try:
        return _head_of(data)[0]
    except (struct.error, LookupError, ValueError):
        return _UNREADABLE


def with_end(data: bytes, ended_ms: int) -> bytes | None:
    """Return an encoded memory whose saga's end was read at this time, the rest as it was, without decoding it.

    None where something is to be done later, which the end may call off, and where the bytes are not of this version:
    then only `decode` helps, or says what is wrong with them.
    """
    if len(data) < _FLAGS_END or data[0] != VERSION:
        return None
    flags = data[1]
    if flags & (_HAS_DUE | MemoryFlag.OWED):
        return None
    return _head(flags & ~_HAS_END, ended_ms, 0) + data[_FLAGS_END + _time.size * bool(flags & _HAS_END) :]


def _head(flags: int, ended_ms: int, due_ms: int) -> bytes:
    """Return a head: version, flags, and those of the two times that are not 0."""
    if not ended_ms and not due_ms:
        return _HEADS[flags]
    times = (_time.pack(ended_ms) if ended_ms else b"") + (_time.pack(due_ms) if due_ms else b"")
    return _HEADS[flags | _HAS_END * bool(ended_ms) | _HAS_DUE * bool(due_ms)] + times


def _head_of(data: bytes) -> tuple[Peek, int]:
    """Return what a head says, and where it ends.

    Raises:
        struct.error, LookupError: If the bytes end before it does.
        ValueError: If they are of another version.
    """
    if data[0] == legacy_binary.VERSION:
        _, flags, ended_ms, due_ms = legacy_binary.HEAD.unpack_from(data)
        return Peek(flags & ~(_HAS_END | _HAS_DUE), ended_ms, due_ms), legacy_binary.HEAD.size
    if data[0] != VERSION:
        raise ValueError(f"format version {data[0]}, and this choreo reads {VERSION}")
    flags, at, ended_ms, due_ms = data[1], _FLAGS_END, 0, 0
    if flags & _HAS_END:
        [ended_ms] = _time.unpack_from(data, at)
        at += _time.size
    if flags & _HAS_DUE:
        [due_ms] = _time.unpack_from(data, at)
        at += _time.size
    return Peek(flags & ~(_HAS_END | _HAS_DUE), ended_ms, due_ms), at


def _check(
    fences: Mapping[FenceKey, Fence], timers: Mapping[TimerKey, Timer], waiting: Mapping[FenceKey, Waiting]
) -> None:
    """Refuse what cannot be true, for whoever reads a memory relies on it.

    Raises:
        ValueError: If something is.
    """
    if waiting and not fences.keys() >= waiting.keys():
        raise ValueError("a step waits that was never taken")
    if any(timer.event is None and key[0] is not TimerKind.RETRY for key, timer in timers.items()):
        raise ValueError("something is due, and nobody knows for what event")


def _short(event: Recorded) -> Recorded | tuple[object, ...]:
    """Return a recorded event without those of its last fields that say nothing."""
    if event.hop > HOP_MAX:
        event = event._replace(hop=HOP_MAX)
    size = len(event)
    while event[size - 1] == _DEFAULTS[size - 1]:
        size -= 1
    return event[:size]
