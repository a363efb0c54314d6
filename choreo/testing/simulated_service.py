"""One service of a scenario: the engine of production on a source in memory.

Opening, serving one batch with whatever strikes it, dying and closing live here; which service is served next is the
`delivery`'s choice, and what strikes it the `fault_injection`'s.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta

from choreo.clock import EPOCH, ManualClock
from choreo.errors import Fenced, RetriesExhausted, TransactionAborted
from choreo.records import memory_topic
from choreo.runtime import Resources
from choreo.runtime.assembly import engine_for, topics_read
from choreo.runtime.batch import BatchResult
from choreo.service import Declaration
from choreo.settings import Settings
from choreo.testing.compiled import CompiledServices
from choreo.testing.fault_injection import FaultInjection, ProcessDied
from choreo.testing.fault_plan import Interruption, Point
from choreo.testing.history import HistoryEntry
from choreo.testing.memory_transport import CommitTrouble, MemoryBroker, MemorySource, Reached
from choreo.transport import Batch, Commit, Outgoing

INSTANCE = "scenario"


@dataclass(frozen=True, slots=True)
class Environment:
    """What all services of a scenario share; every batch of theirs is added to its history."""

    compiled: CompiledServices
    broker: MemoryBroker
    settings: Settings
    clock: ManualClock
    faults: FaultInjection
    add_to_history: Callable[[HistoryEntry], None]


class SimulatedService:
    """A service that can be served, one batch at a time; some of its resources may be replaced."""

    def __init__(self, declaration: Declaration, environment: Environment, replaced: Mapping[type, object]) -> None:
        self.name = declaration.name
        self.owner = bool(declaration.sagas)
        settings, compiled = environment.settings, environment.compiled
        self._resources = Resources(declaration.providers, replaced)
        self.engine = engine_for(
            environment.faults.disturbed(declaration),
            compiled.codecs[declaration.name],
            self._resources,
            compiled.catalog,
            settings,
            environment.clock,
        )
        self._environment = environment
        self._topics = topics_read(declaration)
        self.source = self._join()

    @property
    def next_due(self) -> datetime | None:
        """When its next timer is due, which may be over already; None where it has none."""
        due_ms = self.engine.next_ms
        return None if due_ms is None else EPOCH + timedelta(milliseconds=due_ms)

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the service's resources, to be closed with `stack`, and restore its memory."""
        await self._resources.open()
        stack.push_async_callback(self._resources.close)
        stack.callback(self.engine.close)
        await self.serve(0)

    async def restart(self) -> list[Exception]:
        """Die, and begin again with what is committed; return what steps were parked with that were due."""
        self._environment.broker.crash(self.source)
        await self._resources.close()
        await self._resources.open()
        for partition in list(self.engine.partitions):
            self.engine.lose(partition)
        self.source = self._join()
        return await self.serve(0)

    async def serve(self, records_max: int) -> list[Exception]:
        """Process what comes next and commit it; return what steps were parked with."""
        batch = self.source.poll(0, records_max)
        for partition in batch.lost:
            self.engine.lose(partition)
        for partition, memories in batch.gained.items():
            self.engine.gain(partition, dict(memories))
        self.engine.wait_for(batch.behind)
        self._environment.faults.begin(self.name, batch.records, self._environment.clock.now())
        work: BatchResult | None = None
        try:
            work = await self.engine.process(batch.records)
        except* ProcessDied:
            pass
        if work is None:
            self._add_to_history(batch, ())
            return await self.restart()
        return [] if work.empty else await self._commit(batch, work)

    async def _commit(self, batch: Batch, work: BatchResult) -> list[Exception]:
        """Commit, and suffer what happens to that."""
        interruption = self._environment.faults.commit()
        reached = self._write(batch, work, interruption)
        written = reached is not None and reached >= Reached.OUTPUTS
        self._add_to_history(batch, work.outputs if written else ())
        errors = [_raised(error) for error in work.errors] if reached is not None else []
        if interruption is not None and isinstance(interruption.cause, Point):
            errors += await self.restart()
        elif interruption is None and reached is not None:
            self.engine.merge(work)
        else:
            self.engine.drop(work)
            # What became of the commit is learned at the next poll, timers that it set among it.
            errors += await self.serve(0)
        return errors

    def _write(self, batch: Batch, work: BatchResult, interruption: Interruption | None) -> Reached | None:
        """Have brokers do what is to be done of a commit; return how far it came, None where nothing happened."""
        broker = self._environment.broker
        cause, reached = interruption if interruption is not None else (None, Reached.OFFSETS)
        if cause is Point.BEFORE_COMMIT:
            return None
        if cause is Point.IN_COMMIT:
            broker.crash_next_commit(self.name, reached)
        elif cause is CommitTrouble.ABORTED:
            broker.abort_next_commit(self.name)
        elif cause is CommitTrouble.UNANSWERED:
            broker.lose_commit_response(self.name, reached)
        whole = self._environment.settings.delivery == "exactly_once"
        try:
            self.source.commit(Commit(batch.token, work.changelog, work.outputs, work.offsets))
        except TransactionAborted:
            if cause is not CommitTrouble.UNANSWERED:
                return None
            return Reached.OFFSETS if whole else reached
        except Fenced:
            if cause is not Point.IN_COMMIT:
                raise
            return None if whole else reached
        return Reached.OFFSETS

    def _add_to_history(self, batch: Batch, wrote: Sequence[Outgoing]) -> None:
        now, suffered = self._environment.clock.now(), self._environment.faults.suffered
        self._environment.add_to_history(HistoryEntry(now, self.name, batch.records, wrote, suffered))

    def _join(self) -> MemorySource:
        return self._environment.broker.source(
            group=self.name,
            topics=self._topics,
            memory_topic=memory_topic(self.name),
            delivery=self._environment.settings.delivery,
            instance=INSTANCE,
        )


def _raised(error: Exception) -> Exception:
    """Return what a test wants to see: what the handler raised, rather than that its retries are spent."""
    cause = error.__cause__
    return cause if isinstance(error, RetriesExhausted) and isinstance(cause, Exception) else error
