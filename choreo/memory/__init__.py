"""What one service remembers of one saga, and its bytes.

A memory and the compact binary form that travels on `<service>.memory` live in `binary`, its parts in `record`, and
the reading of the form before in `legacy_binary`. No rule about what to do lives in this package; `step` decides and
`runtime` keeps the bytes.
"""

from choreo.memory.binary import Memory, Peek, peek, with_end
from choreo.memory.record import (
    HOP_MAX,
    Fence,
    FenceKey,
    MemoryFlag,
    Recorded,
    Status,
    Timer,
    TimerKey,
    TimerKind,
    Waiting,
)

__all__ = [
    "HOP_MAX",
    "Fence",
    "FenceKey",
    "Memory",
    "MemoryFlag",
    "Peek",
    "Recorded",
    "Status",
    "Timer",
    "TimerKey",
    "TimerKind",
    "Waiting",
    "peek",
    "with_end",
]
