"""One batch in, one commit out.

Reading records, grouping them by saga, running the pure core around each call and assembling what is to be committed
live here; polling, committing and threads do not. The worker drives it against brokers and `testing.Scenario`
against memory: `gain` and `lose` on rebalance, then `process`, and `merge` or `drop` once the commit is known.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from choreo.clock import Clock
from choreo.errors import RetriesExhausted, UndecodableRecord
from choreo.event import Envelope
from choreo.memory import Flag, Memory, peek, with_end
from choreo.runtime import notes
from choreo.runtime.forgetting import Forgetting
from choreo.runtime.invoke import Invoker, Sleep
from choreo.runtime.resources import Resources
from choreo.step import Call, Outcome, Rules, arrivals, park, plan, reemit, settle, skip
from choreo.transport import Outgoing, Position, Record

Stage = Callable[[list[Outgoing], Mapping[Position, int]], None]
STAGE_RECORDS = 250
"""Outputs that are worth handing over before the batch is done."""
_WORTH_A_LOOK = frozenset({"unknown-type", "unknown-fingerprint"})


@dataclass(slots=True)
class Work:
    """What a batch came to, until it is committed.

    Attributes:
        changelog: The memories that changed; a tombstone for each that is forgotten.
        outputs: Events, journal notes, ends and dead letters, in order.
        offsets: The next offset to read, a partition.
        errors: Why steps were parked, for a test to raise.
        handed: How much of changelog and outputs has been handed over before the commit.
        memories: (partition, saga_id) → new memory, None where it is forgotten.
        ended: (partition, saga_id, ended_ms) of sagas whose end was read.
    """

    changelog: list[Outgoing] = field(default_factory=list)
    outputs: list[Outgoing] = field(default_factory=list)
    offsets: dict[Position, int] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)
    memories: dict[tuple[int, str], bytes | None] = field(default_factory=dict)
    handed: tuple[int, int] = (0, 0)
    ended: list[tuple[int, str, int]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not (self.changelog or self.outputs or self.offsets)

    def hand_over(self) -> list[Outgoing]:
        """Return what has been added to changelog and outputs since this was last called."""
        remembered, emitted = self.handed
        self.handed = len(self.changelog), len(self.outputs)
        return [*self.changelog[remembered:], *self.outputs[emitted:]]


@dataclass(slots=True)
class _Chain:
    """The records of one saga within a batch, in their order."""

    partition: int
    saga_id: str
    items: list[tuple[Record, Envelope | None]]
    outputs: list[Outgoing] = field(default_factory=list)


class Engine:
    """One service's side of the choreography, without threads or brokers.

    Args:
        rules: The service, compiled.
        resources: Its resources; the caller opens and closes them.
        clock: Where time comes from.
        sleep: Waits between attempts of a handler.
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
        sleep: Sleep = asyncio.sleep,
        concurrency_max: int = 64,
        remember_for: timedelta = timedelta(days=7),
        refresh: Callable[[], Awaitable[None]] | None = None,
        concerns: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._rules = rules
        self._codec = rules.codec
        self._clock = clock
        self._concurrency_max = concurrency_max
        self._remember_ms = int(remember_for.total_seconds() * 1000)
        self._refresh = refresh
        self._concerns = concerns
        self._memory_topic = f"{rules.service}.memory"
        self._partitions: dict[int, dict[str, bytes]] = {}
        self._forgetting: dict[int, Forgetting] = {}
        self._positions: dict[Position, int] = {}
        self._invokers = {
            name: Invoker(rules, handler, resources, sleep, clock.now) for name, handler in rules.handlers.items()
        }
        self.counts: Counter[str] = Counter()

    @property
    def partitions(self) -> Mapping[int, Mapping[str, bytes]]:
        """The memories held: partition → saga_id → encoded memory."""
        return self._partitions

    def gain(self, partition: int, memories: dict[str, bytes]) -> None:
        """Take a partition over with its restored memory; a second time replaces what was known."""
        self.lose(partition)
        self._partitions[partition] = memories
        self._forgetting[partition] = Forgetting(self._remember_ms)
        self._forgetting[partition].restore(memories)

    def lose(self, partition: int) -> None:
        """Drop a partition that belongs to somebody else now."""
        self._partitions.pop(partition, None)
        self._forgetting.pop(partition, None)
        for position in [each for each in self._positions if each[1] == partition]:
            del self._positions[position]

    def memory(self, saga_id: str) -> Memory | None:
        """Return what is remembered of a saga, decoded; None where nothing is."""
        for memories in self._partitions.values():
            if saga_id in memories:
                return Memory.decode(memories[saga_id])
        return None

    async def process(self, records: Sequence[Record], stage: Stage | None = None) -> Work:
        """Return what these records come to. Nothing takes effect before `merge`.

        Args:
            records: In each partition's order, of owned partitions only.
            stage: Is given what the batch has come to so far whenever that is worth it, to be written before the
                commit while the rest is worked out.
        """
        work = Work()
        chains = self._chains(await self._read(records, work), work)
        if chains:
            todo = iter(chains)
            side_by_side = min(len(chains), self._concurrency_max)
            if side_by_side == 1:
                await self._run(todo, work, stage)
            else:
                async with asyncio.TaskGroup() as group:
                    for _ in range(side_by_side):
                        group.create_task(self._run(todo, work, stage))
        self._sweep(work)
        return work

    def merge(self, work: Work) -> None:
        """Make a committed batch's memories the ones that are known."""
        for (partition, saga_id), data in work.memories.items():
            if data is None:
                self._partitions[partition].pop(saga_id, None)
            else:
                self._partitions[partition][saga_id] = data
        for partition, saga_id, ended_ms in work.ended:
            self._forgetting[partition].ended(saga_id, ended_ms)
        self._positions.update(work.offsets)
        self.counts.update(work.counts)

    def drop(self, work: Work) -> None:
        """Forget a batch that was not committed; its records come again."""
        for (partition, saga_id), data in work.memories.items():
            if data is None and partition in self._forgetting:
                # It was taken off the heap to be forgotten, and is not: it is due again.
                self._forgetting[partition].ended(saga_id, 0)

    async def _read(self, records: Sequence[Record], work: Work) -> list[tuple[Record, Envelope | None]]:
        """Decode a batch; what is unknown gets a second chance once newly announced schemas are read."""
        read = self._codec.read
        found: list[tuple[Record, Envelope | None]] = []
        failed: list[tuple[int, Record, UndecodableRecord]] = []
        offsets = work.offsets
        for record in records:
            offsets[record.topic, record.partition] = record.offset + 1
            if record.topic == notes.ENDS:
                found.append((record, None))
                continue
            try:
                envelope = read(record)
            except UndecodableRecord as error:
                failed.append((len(found), record, error))
                found.append((record, None))
                continue
            if envelope is not None:
                found.append((record, envelope))
        return await self._read_again(found, failed, work) if failed else found

    async def _read_again(
        self,
        found: list[tuple[Record, Envelope | None]],
        failed: list[tuple[int, Record, UndecodableRecord]],
        work: Work,
    ) -> list[tuple[Record, Envelope | None]]:
        """Give what is unknown its second chance, and everything else to the dead letters."""
        if self._refresh is not None and any(error.reason in _WORTH_A_LOOK for _, _, error in failed):
            await self._refresh()
        dropped: set[int] = set()
        for index, record, reason in failed:
            try:
                if reason.reason not in _WORTH_A_LOOK:
                    raise reason
                envelope = self._codec.read(record)
            except UndecodableRecord as final:
                self._dead_letter(record, final, work.outputs, work)
                envelope = None
            if envelope is None:
                dropped.add(index)
            else:
                found[index] = (record, envelope)
        return [item for index, item in enumerate(found) if index not in dropped]

    def _chains(self, read: list[tuple[Record, Envelope | None]], work: Work) -> list[_Chain]:
        chains: dict[tuple[int, str], _Chain] = {}
        # The end of a saga is nearly always all that comes for it in a batch: such need no chain.
        ends: dict[tuple[int, str], Record] = {}
        reactions = self._rules.reactions
        for record, envelope in read:
            if envelope is None:
                self._place_end(record, chains, ends, work)
            elif envelope.type in reactions:
                key = (record.partition, envelope.saga_id)
                chain = chains.get(key)
                if chain is None:
                    chain = chains[key] = _Chain(*key, [(ends.pop(key), None)] if key in ends else [])
                chain.items.append((record, envelope))
        for key, record in ends.items():
            if not self._only_ended(*key, work):
                chains[key] = _Chain(*key, [(record, None)])
        return list(chains.values())

    def _place_end(
        self, record: Record, chains: dict[tuple[int, str], _Chain], ends: dict[tuple[int, str], Record], work: Work
    ) -> None:
        try:
            saga_id, saga_type = notes.read_end(record)
        except UndecodableRecord as error:
            self._dead_letter(record, error, work.outputs, work)
            return
        key = (record.partition, saga_id)
        if key in chains:
            chains[key].items.append((record, None))
        elif saga_id in self._partitions[record.partition]:
            ends.setdefault(key, record)
        elif self._concerns(saga_type):
            chains[key] = _Chain(*key, [(record, None)])

    async def _run(self, todo: Iterator[_Chain], work: Work, stage: Stage | None = None) -> None:
        """Take chains one after another; several of these run side by side while handlers await."""
        for chain in todo:
            await self._chain(chain, work)
            # Those of one saga stay together, in their order; sagas stand as they are done.
            work.outputs += chain.outputs
            if stage is not None and len(work.outputs) - work.handed[1] >= STAGE_RECORDS:
                stage(work.hand_over(), dict(work.offsets))

    async def _chain(self, chain: _Chain, work: Work) -> None:
        before = self._partitions[chain.partition].get(chain.saga_id)
        try:
            memory = Memory() if before is None else Memory.decode(before)
        except UndecodableRecord as error:
            for record, _ in chain.items:
                self._dead_letter(record, error, chain.outputs, work)
            return
        for record, envelope in chain.items:
            if envelope is None:
                self._end(chain, memory, work)
                continue
            try:
                for arrival in arrivals(self._rules, memory, envelope):
                    await self._arrive(memory, arrival, chain.outputs, work)
            except UndecodableRecord as error:
                self._dead_letter(record, error, chain.outputs, work)
        after = memory.encode()
        if after != before:
            self._remember(chain.partition, chain.saga_id, after, work)
        work.counts["events"] += len(chain.items)

    async def _arrive(self, memory: Memory, envelope: Envelope, outputs: list[Outgoing], work: Work) -> None:
        rules = self._rules
        calls, told = plan(rules, memory, envelope)
        for note in told:
            outputs.append(notes.journal(note, rules.service, envelope, self._clock.now()))
            work.counts[note.kind] += 1
        for call in calls:
            outcome = await self._outcome(memory, call)
            outputs += [self._codec.outgoing(emitted) for emitted in outcome.events]
            if outcome.ended is not None:
                completed = bool(memory.flags & Flag.COMPLETED)
                outputs.append(
                    notes.end(outcome.ended, rules.service, completed=completed, now=outcome.ended.occurred_at)
                )
            for note in outcome.notes:
                outputs.append(notes.journal(note, rules.service, envelope, self._clock.now()))
                work.counts[note.kind] += 1
            if outcome.error is not None:
                work.errors.append(outcome.error)

    async def _outcome(self, memory: Memory, call: Call) -> Outcome:
        rules = self._rules
        if call.again:
            return reemit(rules, memory, call)
        if call.skip:
            return skip(rules, memory, call)
        if call.error:
            return park(rules, memory, call, RetriesExhausted(call.error, service=rules.service))
        try:
            emitted = await self._invokers[call.handler.name](memory, call)
        except RetriesExhausted as error:
            return park(rules, memory, call, error)
        return settle(rules, memory, call, emitted, self._clock.now())

    def _only_ended(self, partition: int, saga_id: str, work: Work) -> bool:
        """Stamp a memory where the saga's end is all that came: nothing is decoded.

        Returns:
            Whether that was possible; what cannot be read goes the long way, to be told as such.
        """
        before = self._partitions[partition][saga_id]
        now_ms = max(self._now_ms(), 1)
        after = with_end(before, now_ms)
        if after is None:
            return False
        if not peek(before)[1]:
            self._remember(partition, saga_id, after, work)
            work.ended.append((partition, saga_id, now_ms))
        work.counts["events"] += 1
        return True

    def _remember(self, partition: int, saga_id: str, memory: bytes, work: Work) -> None:
        work.memories[partition, saga_id] = memory
        work.changelog.append(Outgoing(self._memory_topic, saga_id.encode(), memory, [], partition))

    def _end(self, chain: _Chain, memory: Memory, work: Work) -> None:
        if not memory.ended_ms:
            memory.ended_ms = max(self._now_ms(), 1)
            work.ended.append((chain.partition, chain.saga_id, memory.ended_ms))

    def _sweep(self, work: Work) -> None:
        """Add a tombstone for every saga that may be forgotten now, in partitions whose offsets vouch for us."""
        now_ms = self._now_ms()
        for partition, forgetting in self._forgetting.items():
            fresh = {position: at for position, at in self._positions.items() if position[1] == partition}
            if not fresh and not any(each == partition for _, each in work.offsets):
                continue
            for saga_id in forgetting.due(self._partitions[partition], now_ms):
                if (partition, saga_id) in work.memories:
                    # Something came for it in this very batch; it is looked at again with the next one.
                    forgetting.ended(saga_id, now_ms - self._remember_ms)
                    continue
                work.memories[partition, saga_id] = None
                work.changelog.append(Outgoing(self._memory_topic, saga_id.encode(), None, [], partition))
                work.counts["forgotten"] += 1
                for position, offset in fresh.items():
                    work.offsets.setdefault(position, offset)

    def _dead_letter(self, record: Record, error: UndecodableRecord, outputs: list[Outgoing], work: Work) -> None:
        outputs.append(notes.dead_letter(record, self._rules.service, error, self._clock.now()))
        work.counts["dead-lettered"] += 1
        work.counts[f"dead-lettered:{error.reason}"] += 1

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)
