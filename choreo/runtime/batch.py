"""What a batch comes to, and the parts of it that belong together.

Two records live here: `BatchResult`, until it is committed, and `SagaBatch`, what came for one saga. They hold no
rules; the engine fills them.
"""

from asyncio import Future
from collections import Counter
from dataclasses import dataclass, field

from msgspec import Struct

from choreo.event import Envelope
from choreo.records import Command
from choreo.transport import Outgoing, Position, Record

Item = Envelope | Command | None
"""What a record holds: an event, a command, or None for the end of a saga."""


@dataclass(slots=True)
class BatchResult:
    """What a batch came to, until it is committed.

    Attributes:
        changelog: The memories that changed; a tombstone for each that is forgotten.
        outputs: Events, journal notes, ends and dead letters, in order.
        offsets: The next offset to read, a partition.
        errors: Why steps were parked, for a test to raise.
        memories: (partition, saga_id) → new memory, None where it is forgotten.
        ended: (partition, saga_id, ended_ms) of sagas whose end was read.
        due: (partition, saga_id, due_ms) of sagas that have something to do later.
        woken: (partition, saga_id) of sagas whose timers were taken up.
        vouched: (partition, saga_id) of sagas whose recorded outputs are published again.
        before: What `merge` replaced, so that it can be undone.
        positions: The offsets that `merge` replaced, likewise.
        refreshed: The look for schemas that were announced since, once something unknown has come.
    """

    changelog: list[Outgoing] = field(default_factory=list)
    outputs: list[Outgoing] = field(default_factory=list)
    offsets: dict[Position, int] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)
    memories: dict[tuple[int, str], bytes | None] = field(default_factory=dict)
    ended: list[tuple[int, str, int]] = field(default_factory=list)
    due: list[tuple[int, str, int]] = field(default_factory=list)
    woken: list[tuple[int, str]] = field(default_factory=list)
    vouched: list[tuple[int, str]] = field(default_factory=list)
    before: dict[tuple[int, str], bytes | None] = field(default_factory=dict)
    positions: dict[Position, int | None] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    refreshed: Future[None] | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not (self.changelog or self.outputs or self.offsets)


class SagaBatch(Struct, eq=False):
    """What came for one saga within a batch, in its order.

    Attributes:
        key: The records' key: the saga's id, once they are found to be readable.
        records: Not decoded before their turn: what is read, used and let go at once stays in the processor's cache.
        saga_id: The saga, "" until something is readable.
        woken: Its timers are to be looked at, behind the records.
        owed: Its recorded outputs are to be published again first.
        vouched: Its recorded outputs are known to be published, which its memory is to say.
    """

    partition: int
    key: bytes | None
    records: list[Record]
    saga_id: str = ""
    woken: bool = False
    owed: bool = False
    vouched: bool = False
    outputs: list[Outgoing] = []

    @property
    def due(self) -> bool:
        """Whether there is something to do beside what came."""
        return self.woken or self.owed or self.vouched
