"""An engine with a clock that is moved by hand, and records as a topic would give them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from choreo import Event, Service
from choreo.clock import ManualClock
from choreo.codec import Codec, Schemas
from choreo.event import Envelope
from choreo.runtime import BatchResult, Engine, Resources
from choreo.service import declarations
from choreo.step import Rules
from choreo.transport import Outgoing, Record

SAGA_ID = "0198c0de-0000-7000-8000-000000000001"


class Bench:
    """One engine that owns partition 0, and the records it has been given."""

    def __init__(self, service: Service, *, rules: dict[str, Any] | None = None, **options: Any) -> None:
        self.declaration = declarations(service)[0]
        self.codec = Codec(self.declaration.event_types, Schemas(), consumes=self.declaration.consumes)
        self.clock = ManualClock()
        self.resources = Resources(self.declaration.providers)
        self.engine = Engine(
            Rules(self.declaration, self.codec, **(rules or {})),
            self.resources,
            clock=self.clock,
            **options,
        )
        self.engine.gain(0, {})
        self._offsets: dict[str, int] = {}

    def envelope(self, event: Event, event_id: str = "event-1", saga_id: str = SAGA_ID, **fields: Any) -> Envelope:
        kind = type(event).__choreo_type__
        return Envelope(
            event, self.codec.encode(event), event_id, kind, saga_id, occurred_at=self.clock.now(), **fields
        )

    def record(self, event: Event, event_id: str = "event-1", saga_id: str = SAGA_ID, **fields: Any) -> Record:
        return self.as_read(self.codec.outgoing(self.envelope(event, event_id, saga_id, **fields)))

    def as_read(self, outgoing: Outgoing, partition: int = 0) -> Record:
        offset = self._offsets.get(outgoing.topic, 0)
        self._offsets[outgoing.topic] = offset + 1
        return Record(outgoing.topic, partition, offset, outgoing.key, outgoing.value, outgoing.headers, 0)

    def process(self, *records: Record, merge: bool = True) -> BatchResult:
        async def run() -> BatchResult:
            await self.resources.open()
            try:
                return await self.engine.process(records)
            finally:
                await self.resources.close()

        work = asyncio.run(run())
        if merge:
            self.engine.merge(work)
        return work


def topics(outgoing: Sequence[Outgoing]) -> list[str]:
    return [each.topic for each in outgoing]


def header(outgoing: Outgoing, name: str) -> str:
    return dict(outgoing.headers)[name].decode()
