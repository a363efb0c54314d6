"""Memories in format version 2, which is read and no longer written.

A memory that changes is written in the present form (`binary`), so this module can be deleted once no memory topic
holds these bytes any more. Only `binary` calls it.
"""

import struct
from collections.abc import Callable
from typing import Any, TypeVar

from choreo.memory.record import Fence, FenceKey, MemoryBody, Recorded, Status, Timer, TimerKey, TimerKind, Waiting

VERSION = 2
HEAD = struct.Struct(">BBQQ")
"""Version, flags, when the saga's end was read, when its first timer is due."""
_FENCE_TAIL = struct.Struct(">BI")
_RECORDED_TEXTS = (
    "event_id", "type", "branch", "source", "causation_id", "causes", "compensates_id", "path", "saga_type",
    "business_key", "step", "trigger", "traceparent", "tracestate",
)  # fmt: skip
_RECORDED_TAIL = struct.Struct(">BHqI")
_TIMER_TAIL = struct.Struct(">BQI")
_WAITING_TAIL = struct.Struct(">I?")
# Lengths are in base 128, the high bit saying that more follows (as in Avro and Protocol Buffers).
_CONTINUES = 0x80
_MINE, _READ = 1, 2
T = TypeVar("T")


def read(data: bytes) -> MemoryBody:
    """Return what follows the head of an encoded memory.

    Raises:
        struct.error, LookupError, ValueError: If the bytes are damaged.
    """
    reader = _Cursor(data)
    body = MemoryBody(
        reader.text(),
        reader.blob(),
        dict(reader.many(reader.fence)),
        reader.many(reader.recorded),
        reader.many(reader.recorded),
        dict(reader.many(reader.timer)),
        dict(reader.many(reader.waiting)),
        reader.many(reader.key),
    )
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes too many")
    return body


class _Cursor:
    """A place within the bytes of one memory; every method reads what is there and moves on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = HEAD.size

    def length(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < _CONTINUES:
                break
            shift += 7
        if value > len(self._data):
            raise ValueError("a length beyond the record's end")
        return value

    def blob(self) -> bytes:
        size = self.length()
        start, self.at = self.at, self.at + size
        if self.at > len(self._data):
            raise ValueError("a field beyond the record's end")
        return self._data[start : self.at]

    def text(self) -> str:
        return self.blob().decode()

    def many(self, read: Callable[[], T]) -> list[T]:
        return [read() for _ in range(self.length())]

    def texts(self) -> tuple[str, ...]:
        return tuple(self.many(self.text))

    def numbers(self, layout: struct.Struct) -> tuple[Any, ...]:  # What a struct holds is untyped.
        start, self.at = self.at, self.at + layout.size
        return layout.unpack_from(self._data, start)

    def key(self) -> FenceKey:
        return self.text(), self.text(), self.text()

    def fence(self) -> tuple[FenceKey, Fence]:
        key = self.key()
        status, check = self.numbers(_FENCE_TAIL)
        return key, Fence(Status(status), check)

    def recorded(self) -> Recorded:
        fields: dict[str, Any] = {name: self.text() for name in _RECORDED_TEXTS}
        for name in ("causes", "path"):
            fields[name] = tuple(fields[name].split(",")) if fields[name] else ()
        body = self.blob()
        marks, hop, occurred_us, check = self.numbers(_RECORDED_TAIL)
        mine, read = bool(marks & _MINE), bool(marks & _READ)
        return Recorded(**fields, body=body, hop=hop, occurred_us=occurred_us, check=check, mine=mine, read=read)

    def timer(self) -> tuple[TimerKey, Timer]:
        key = self.key()
        kind, due_ms, index = self.numbers(_TIMER_TAIL)
        unless = self.texts()
        event = self.recorded() if self.length() else None
        return (TimerKind(kind), *key, index), Timer(due_ms, event, unless)

    def waiting(self) -> tuple[FenceKey, Waiting]:
        key = self.key()
        attempt, spent = self.numbers(_WAITING_TAIL)
        error = self.text()
        events = tuple(self.many(self.texts))
        rest = self.texts(), self.text(), self.text(), self.text(), self.text()
        return key, Waiting(attempt, spent, error, events, *rest)
