"""One batch in, one commit out.

The memories that a process holds, what is due of them, and what a batch comes to live here; polling, committing and
threads do not. The worker drives it against brokers and `testing.Scenario` against memory: `gain` and `lose` on
rebalance, then `process`, and `merge` or `drop` once the commit is known.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from choreo.clock import Clock
from choreo.errors import UndecodableRecord
from choreo.memory import Memory, MemoryFlag, peek, with_end
from choreo.records import memory_topic
from choreo.runtime.batch import BatchResult, SagaBatch
from choreo.runtime.intake import Intake, SagaKey
from choreo.runtime.invoker import Invoker
from choreo.runtime.partition import WOKEN_MAX, OwnedPartition
from choreo.runtime.resources import Resources
from choreo.runtime.saga_processor import SagaProcessor, now_ms
from choreo.step import Rules
from choreo.transport import Outgoing, Record
from choreo.tuples import maker

_NOTHING = Memory().encode()
_outgoing = maker(Outgoing)
THREADS_MAX = 32
"""Threads for handlers that block (`thread=True`), a service and process."""


class Engine:
    """One service's side of the choreography, without threads or brokers of its own.

    Args:
        rules: The service, compiled.
        resources: Its resources; the caller opens and closes them.
        clock: Where time comes from.
        concurrency_max: Sagas whose handlers may be awaited at once.
        remember_for: How long an ended saga is remembered (rule 5).
        refresh: Looks for schemas that were announced since; awaited once a batch that has something unknown.
        concerns: Whether this service consumes events of a saga type; True where that is not known.
    """

    def __init__(  # noqa: PLR0913 - the composition root calls it once, by keyword.
        self,
        rules: Rules,
        resources: Resources,
        *,
        clock: Clock,
        concurrency_max: int = 64,
        remember_for: timedelta = timedelta(days=7),
        refresh: Callable[[], Coroutine[Any, Any, None]] | None = None,
        concerns: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.rules = rules
        self._clock = clock
        self._concurrency_max = concurrency_max
        self._remember_ms = int(remember_for.total_seconds() * 1000)
        self._memory_topic = memory_topic(rules.service)
        self._partitions: dict[int, OwnedPartition] = {}
        self._behind: Collection[int] = ()
        self._threads = ThreadPoolExecutor(
            min(concurrency_max, THREADS_MAX), thread_name_prefix=f"handlers-{rules.service}"
        )
        invokers = {
            name: Invoker(rules, handler, resources, clock.now, self._threads)
            for name, handler in rules.handlers.items()
        }
        self._intake = Intake(rules, clock, self._partitions, refresh, concerns)
        self._processor = SagaProcessor(rules, invokers, self._intake, clock)
        self.counts: Counter[str] = Counter()

    @property
    def partitions(self) -> dict[int, dict[str, bytes]]:
        """The memories held: partition → saga_id → encoded memory."""
        return {number: each.memories for number, each in self._partitions.items()}

    @property
    def next_ms(self) -> int | None:
        """When something is due, in milliseconds since 1970; None where nothing is, or may be taken up yet."""
        if any(each.owed or each.vouched for each in self._partitions.values()):
            return 1  # At once.
        soonest = [
            due_ms
            for number, each in self._partitions.items()
            if number not in self._behind and (due_ms := each.schedule.next_ms(each.memories)) is not None
        ]
        return min(soonest, default=None)

    def gain(self, partition: int, memories: dict[str, bytes]) -> None:
        """Take a partition over with its restored memory; a second time replaces what was known."""
        self._partitions[partition] = OwnedPartition(
            memories, self._remember_ms, at_least_once=self.rules.at_least_once
        )

    def lose(self, partition: int) -> None:
        """Drop a partition that belongs to somebody else now."""
        self._partitions.pop(partition, None)

    def wait_for(self, partitions: Collection[int]) -> None:
        """Let nothing fall due in these partitions yet: their backlog has not been read (rule 23)."""
        self._behind = partitions

    def memory(self, saga_id: str) -> Memory | None:
        """Return what is remembered of a saga, decoded; None where nothing is."""
        for each in self._partitions.values():
            if saga_id in each.memories:
                return Memory.decode(each.memories[saga_id])
        return None

    async def process(self, records: Sequence[Record]) -> BatchResult:
        """Return what these records come to, and all that is due. Nothing takes effect before `merge`.

        Args:
            records: In each partition's order, of owned partitions only.
        """
        work = BatchResult()
        saga_batches, ends = self._intake.saga_batches(records, work)
        if ends:
            ended_ms = now_ms(self._clock.now())
            for saga, record in ends.items():
                if not self._only_ended(saga, ended_ms, work):
                    saga_batches[saga] = SagaBatch(*saga, [record])
        self._wake(saga_batches, work)
        todo = deque(saga_batches.values())
        if len(todo) == 1 or self._concurrency_max == 1:
            await self._run(todo, work)
        elif todo:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._run(todo, work))
                # It runs until a handler awaits: where none does, it takes all sagas, and no other task is needed.
                await asyncio.sleep(0)
                for _ in range(min(len(todo), self._concurrency_max - 1)):
                    group.create_task(self._run(todo, work))
        self._sweep(work)
        return work

    def merge(self, work: BatchResult) -> None:
        """Make a batch's memories the ones that are known: once it is committed, or before with `undo` if it is not."""
        partitions = self._partitions
        for (number, saga_id), data in work.memories.items():
            work.before[number, saga_id] = partitions[number].replace(saga_id, data)
        for number, saga_id, ended_ms in work.ended:
            partitions[number].retention.ended(saga_id, ended_ms)
        for number, saga_id, due_ms in work.due:
            partitions[number].schedule.set(saga_id, due_ms)
        if self.rules.at_least_once:
            self._vouch(work)
        for (topic, number), offset in work.offsets.items():
            work.positions[topic, number] = partitions[number].offsets.get(topic)
            partitions[number].offsets[topic] = offset
        self.counts.update(work.counts)

    def _vouch(self, work: BatchResult) -> None:
        """Note which outputs are known to be published: they are owed no more, as the next write of the memory says."""
        for (number, saga_id), data in work.memories.items():
            vouched = self._partitions[number].vouched
            owed = data is not None and peek(data).flags & MemoryFlag.OWED
            (vouched.add if owed else vouched.discard)(saga_id)
        for number, saga_id in work.vouched:
            self._partitions[number].owed.discard(saga_id)
            self._partitions[number].vouched.add(saga_id)

    def undo(self, work: BatchResult) -> None:
        """Take back a batch that was merged and could not be committed after all; its records come again.

        Whatever was merged behind it has been undone or dropped before. Partitions that were lost since are left alone.
        """
        for (number, saga_id), data in work.before.items():
            if (partition := self._partitions.get(number)) is not None:
                partition.replace(saga_id, data)
                partition.reschedule(saga_id)
        for (topic, number), offset in work.positions.items():
            if (partition := self._partitions.get(number)) is None:
                continue
            if offset is None:
                partition.offsets.pop(topic, None)
            else:
                partition.offsets[topic] = offset
        for number, saga_id in work.vouched:
            if (partition := self._partitions.get(number)) is not None:
                partition.owed.add(saga_id)
                partition.vouched.discard(saga_id)
        self.counts.subtract(work.counts)
        self.drop(work)

    def drop(self, work: BatchResult) -> None:
        """Forget a batch that was not committed; its records come again."""
        for (number, saga_id), data in work.memories.items():
            if data is None and number in self._partitions:
                # It was taken off the heap to be forgotten, and is not: it is due again.
                self._partitions[number].retention.ended(saga_id, 0)
        for number, saga_id in work.woken:
            if number in self._partitions:
                self._partitions[number].reschedule(saga_id)

    def close(self) -> None:
        """Let the threads of blocking handlers end; those that never return go on until the process ends."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _wake(self, saga_batches: dict[SagaKey, SagaBatch], work: BatchResult) -> None:
        """Add what is due, in partitions whose backlog has been read, and what is owed since they were gained."""
        now = now_ms(self._clock.now())
        for number, partition in self._partitions.items():
            if number not in self._behind:
                for saga_id in partition.schedule.due(partition.memories, now):
                    _saga_batch_of(saga_batches, number, saga_id).woken = True
                    work.woken.append((number, saga_id))
            # In an order that does not hang on how Python hashes.
            for saga_id in sorted(partition.owed):
                _saga_batch_of(saga_batches, number, saga_id).owed = True
                work.vouched.append((number, saga_id))
            for saga_id in sorted(partition.vouched)[:WOKEN_MAX]:
                _saga_batch_of(saga_batches, number, saga_id).vouched = True

    async def _run(self, todo: deque[SagaBatch], work: BatchResult) -> None:
        """Take sagas one after another; several of these run side by side while handlers await."""
        intake, process, partitions, counts = self._intake, self._processor.process, self._partitions, work.counts
        while todo:
            saga_batch = todo.popleft()
            items = intake.items(saga_batch, work)
            if items is None:
                await intake.look(work)
                items = intake.items(saga_batch, work, looked=True) or []
            if items or saga_batch.due:
                saga_id = saga_batch.saga_id = _saga_id(saga_batch.key)
                before = partitions[saga_batch.partition].memories.get(saga_id)
                try:
                    memory = Memory() if before is None else Memory.decode(before)
                except UndecodableRecord as error:
                    for record, _ in items:
                        intake.dead_letter(record, error, saga_batch.outputs, work)
                else:
                    await process(saga_batch, items, memory, work)
                    self._keep(saga_batch, memory, before, work)
                    counts["events"] += len(items)
            # Those of one saga stay together, in their order; sagas stand as they are done.
            work.outputs += saga_batch.outputs

    def _keep(self, saga_batch: SagaBatch, memory: Memory, before: bytes | None, work: BatchResult) -> None:
        """Add a saga's memory to what changed, and when something is due of it."""
        after = memory.encode()
        if after != before and (before is not None or after != _NOTHING):
            self._remember(saga_batch.partition, saga_batch.saga_id, after, work)
        if memory.timers and (saga_batch.woken or memory.due_ms != (0 if before is None else peek(before).due_ms)):
            work.due.append((saga_batch.partition, saga_batch.saga_id, memory.due_ms))

    def _only_ended(self, saga: SagaKey, ended_ms: int, work: BatchResult) -> bool:
        """Stamp a memory where the saga's end is all that came: nothing is decoded.

        Returns:
            Whether that was possible; where nothing is remembered, or it cannot be read, the end goes the long way.
        """
        partition, saga_id = saga[0], _saga_id(saga[1])
        before = self._partitions[partition].memories.get(saga_id)
        if before is None or (after := with_end(before, ended_ms)) is None:
            return False
        if not peek(before).ended_ms:
            self._remember(partition, saga_id, after, work)
            work.ended.append((partition, saga_id, ended_ms))
        work.counts["events"] += 1
        return True

    def _remember(self, partition: int, saga_id: str, memory: bytes | None, work: BatchResult) -> None:
        work.memories[partition, saga_id] = memory
        work.changelog.append(_outgoing((self._memory_topic, saga_id.encode(), memory, [], partition)))

    def _sweep(self, work: BatchResult) -> None:
        """Add a tombstone for every saga that may be forgotten now.

        Only in partitions whose offsets the batch commits: a process that was fenced off forgets nothing.
        """
        now = now_ms(self._clock.now())
        touched = {number for _, number in work.offsets}
        for number, partition in self._partitions.items():
            if not partition.offsets and number not in touched:
                continue
            for saga_id in partition.retention.due(partition.memories, now):
                if (number, saga_id) in work.memories:
                    # Something came for it in this very batch; it is looked at again with the next one.
                    partition.retention.ended(saga_id, now - self._remember_ms)
                    continue
                self._remember(number, saga_id, None, work)
                work.counts["forgotten"] += 1
                for topic, offset in partition.offsets.items():
                    work.offsets.setdefault((topic, number), offset)


def _saga_id(key: bytes | None) -> str:
    """Return the saga of records that were found to be readable: then the key is there, and is text."""
    return (key or b"").decode()


def _saga_batch_of(saga_batches: dict[SagaKey, SagaBatch], partition: int, saga_id: str) -> SagaBatch:
    """Return what came for a saga; a new one where no record came for it."""
    saga = (partition, saga_id.encode())
    return saga_batches.get(saga) or saga_batches.setdefault(saga, SagaBatch(*saga, []))
