"""One service of a scenario: the engine of production on a source in memory.

Opening, serving one batch with whatever strikes it, dying and closing live here; which member is served next is the
scenario's choice, and what strikes the `faults`'.
"""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from choreo.clock import Clock
from choreo.command import COMMANDS
from choreo.errors import Fenced, RetriesExhausted, TransactionAborted
from choreo.runtime import Engine, Resources
from choreo.runtime.notes import ENDS
from choreo.runtime.work import Work
from choreo.service import Declaration
from choreo.settings import Settings
from choreo.step import Rules
from choreo.testing.broker import MemoryBroker
from choreo.testing.cast import Cast
from choreo.testing.chronicle import Happening
from choreo.testing.faults import Faults
from choreo.testing.group import Reached, Trouble
from choreo.testing.points import Blow, Died, Point
from choreo.testing.source import MemorySource
from choreo.transport import Batch, Commit

INSTANCE = "scenario"
_WRITTEN = frozenset({Reached.OUTPUTS, Reached.OFFSETS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What all members of a scenario share.

    Attributes:
        cast: What follows from the services alone.
        broker: Their brokers.
        settings: As in production.
        clock: Where time comes from.
        faults: What strikes them.
        tell: Is told of every batch.
    """

    cast: Cast
    broker: MemoryBroker
    settings: Settings
    clock: Clock
    faults: Faults
    tell: Callable[[Happening], None]


class Member:
    """A service that can be served, one batch at a time.

    Args:
        declaration: The service.
        stage: What it shares with the others.
        replaced: Resources that stand in for the real ones.
    """

    def __init__(self, declaration: Declaration, stage: Stage, replaced: Mapping[type, object]) -> None:
        self.name = declaration.name
        self.owner = bool(declaration.sagas)
        settings, catalog = stage.settings, stage.cast.catalog
        rules = Rules(
            stage.faults.disturbed(declaration),
            stage.cast.codecs[declaration.name],
            at_least_once=settings.delivery == "at_least_once",
            hops_max=settings.hops_max,
            waiting_max=settings.waiting_max,
            event_bytes_max=settings.event_bytes_max,
        )
        self._resources = Resources(declaration.providers, replaced)
        self.engine = Engine(
            rules,
            self._resources,
            clock=stage.clock,
            concurrency_max=settings.concurrency_max,
            remember_for=settings.remember_for,
            refresh=stage.cast.refresh,
            concerns=lambda saga_type: catalog.concerns(declaration.name, saga_type),
        )
        self._stage = stage
        self._topics = sorted({*declaration.topics_in, ENDS, COMMANDS})
        self.source = self._join()

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the service's resources, to be closed with `stack`, and restore its memory."""
        await self._resources.open()
        stack.push_async_callback(self._resources.close)
        stack.callback(self.engine.close)
        await self.serve(0)

    async def restart(self) -> list[Exception]:
        """Die, and begin again with what is committed; return what steps were parked with that were due."""
        self._stage.broker.crash(self.source)
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
        self._stage.faults.begin(self.name, batch.records, self._stage.clock.now())
        work: Work | None = None
        try:
            work = await self.engine.process(batch.records)
        except* Died:
            pass
        if work is None:
            self._tell(batch, None)
            return await self.restart()
        return [] if work.empty else await self._commit(batch, work)

    async def _commit(self, batch: Batch, work: Work) -> list[Exception]:
        """Commit, and suffer what happens to that."""
        blow = self._stage.faults.commit()
        reached = self._happens(batch, work, blow)
        self._tell(batch, work if reached in _WRITTEN else None)
        errors = [_told(error) for error in work.errors] if reached is not None else []
        if blow is not None and isinstance(blow.what, Point):
            errors += await self.restart()
        elif blow is None and reached is not None:
            self.engine.merge(work)
        else:
            self.engine.drop(work)
            # What became of the commit is learned at the next poll, timers that it set among it.
            errors += await self.serve(0)
        return errors

    def _happens(self, batch: Batch, work: Work, blow: Blow | None) -> Reached | None:
        """Have brokers do what is to be done of a commit; return how far it came, None where nothing happened."""
        broker = self._stage.broker
        what, reached = blow if blow is not None else (None, Reached.OFFSETS)
        if what is Point.BEFORE_COMMIT:
            return None
        if what is Point.IN_COMMIT:
            broker.crash_next_commit(self.name, reached)
        elif what is Trouble.ABORTED:
            broker.abort_next_commit(self.name)
        elif what is Trouble.UNANSWERED:
            broker.lose_commit_response(self.name, reached)
        whole = self._stage.settings.delivery == "exactly_once"
        try:
            self.source.commit(Commit(batch.token, work.changelog, work.outputs, work.offsets))
        except TransactionAborted:
            if what is not Trouble.UNANSWERED:
                return None
            return Reached.OFFSETS if whole else reached
        except Fenced:
            if what is not Point.IN_COMMIT:
                raise
            return None if whole else reached
        return Reached.OFFSETS

    def _tell(self, batch: Batch, work: Work | None) -> None:
        stage = self._stage
        outputs = work.outputs if work is not None else ()
        stage.tell(Happening(stage.clock.now(), self.name, batch.records, outputs, stage.faults.suffered))

    def _join(self) -> MemorySource:
        stage = self._stage
        return stage.broker.member(
            group=self.name,
            topics=self._topics,
            memory_topic=f"{self.name}.memory",
            delivery=stage.settings.delivery,
            instance=INSTANCE,
        )


def _told(error: Exception) -> Exception:
    """Return what a test wants to see: what the handler raised, rather than that its retries are spent."""
    cause = error.__cause__
    return cause if isinstance(error, RetriesExhausted) and isinstance(cause, Exception) else error
