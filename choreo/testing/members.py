"""One service of a scenario: the engine of production on a source in memory.

Opening, serving one batch and closing live here; which member is served next is the scenario's choice.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack

from choreo.clock import Clock
from choreo.codec import Codec
from choreo.command import COMMANDS
from choreo.errors import RetriesExhausted, TransactionAborted
from choreo.runtime import Engine, Resources
from choreo.runtime.catalog import Catalog
from choreo.runtime.notes import ENDS
from choreo.service import Declaration
from choreo.settings import Settings
from choreo.step import Rules
from choreo.testing.broker import MemoryBroker
from choreo.testing.source import MemorySource
from choreo.transport import Commit

INSTANCE = "scenario"


class Member:
    """A service that can be served, one batch at a time.

    Args:
        declaration: The service.
        broker: Its brokers.
        catalog: What all services have announced.
        settings: As in production.
        clock: Where time comes from.
        replaced: Resources that stand in for the real ones.
    """

    def __init__(
        self,
        declaration: Declaration,
        *,
        broker: MemoryBroker,
        catalog: Catalog,
        settings: Settings,
        clock: Clock,
        replaced: Mapping[type, object],
    ) -> None:
        self.name = declaration.name
        self.owner = bool(declaration.sagas)
        codec = Codec(
            declaration.event_types,
            catalog.schemas,
            event_bytes_max=settings.event_bytes_max,
            consumes=declaration.consumes,
        )
        rules = Rules(
            declaration,
            codec,
            at_least_once=settings.delivery == "at_least_once",
            hops_max=settings.hops_max,
            waiting_max=settings.waiting_max,
            event_bytes_max=settings.event_bytes_max,
        )
        self._resources = Resources(declaration.providers, replaced)
        self.engine = Engine(
            rules,
            self._resources,
            clock=clock,
            concurrency_max=settings.concurrency_max,
            remember_for=settings.remember_for,
            refresh=catalog.refresh,
            concerns=lambda saga_type: catalog.concerns(declaration.name, saga_type),
        )
        self._broker = broker
        self._topics = sorted({*declaration.topics_in, ENDS, COMMANDS})
        self._delivery = settings.delivery
        self.source = self._join()

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the service's resources, to be closed with `stack`, and restore its memory."""
        await self._resources.open()
        stack.push_async_callback(self._resources.close)
        stack.callback(self.engine.close)
        await self.serve(0)

    async def restart(self) -> None:
        """Die, and begin again with what is committed."""
        self._broker.crash(self.source)
        await self._resources.close()
        await self._resources.open()
        for partition in list(self.engine.partitions):
            self.engine.lose(partition)
        self.source = self._join()
        await self.serve(0)

    async def serve(self, records_max: int) -> list[Exception]:
        """Process what comes next and commit it; return what steps were parked with."""
        batch = self.source.poll(0, records_max)
        for partition in batch.lost:
            self.engine.lose(partition)
        for partition, memories in batch.gained.items():
            self.engine.gain(partition, dict(memories))
        self.engine.wait_for(batch.behind)
        work = await self.engine.process(batch.records)
        if work.empty:
            return []
        try:
            self.source.commit(Commit(batch.token, work.changelog, work.outputs, work.offsets))
        except TransactionAborted:
            self.engine.drop(work)
            return []
        self.engine.merge(work)
        return [_told(error) for error in work.errors]

    def _join(self) -> MemorySource:
        return self._broker.member(
            group=self.name,
            topics=self._topics,
            memory_topic=f"{self.name}.memory",
            delivery=self._delivery,
            instance=INSTANCE,
        )


def _told(error: Exception) -> Exception:
    """Return what a test wants to see: what the handler raised, rather than that its retries are spent."""
    cause = error.__cause__
    return cause if isinstance(error, RetriesExhausted) and isinstance(cause, Exception) else error
