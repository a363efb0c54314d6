"""What one service remembers of one saga, and its bytes.

A memory, and the compact binary form that travels on `<service>.memory`, live in `form`, and its parts in `record`. No
rule about what to do lives in this package; `step` decides and `runtime` keeps the bytes.
"""

from choreo.memory.form import Memory, Peek, peek, with_end
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

__all__ = [
    "HOP_MAX",
    "Fence",
    "FenceKey",
    "Flag",
    "Memory",
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
