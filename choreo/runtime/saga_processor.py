"""Processes what came for one saga in a batch, and then what is due of it.

Calling handlers between the decisions of a `Participant` lives here, and turning its outcomes into records; what to do
is decided in `step`, and how a handler is called in `invoker`. The engine has one `SagaProcessor`, and processes
several sagas of a batch at a time.

Without transactions (SEMANTICS 10, at least once) a memory is written before the outputs that it speaks of. After a
crash between the two, the record that made a step ready is read again, and the outputs are published again. No record
is read again for an event that was held, a timer or a command: their steps are listed in `Memory.owed`. The process
that restores the memory publishes their outputs again, and clears the list once it knows that they are published.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from choreo.clock import Clock
from choreo.errors import UndecodableRecord
from choreo.memory import FenceKey, Memory, MemoryFlag, Status, TimerKind
from choreo.records import Command, Note, end, journal
from choreo.runtime.batch import BatchResult, Item, SagaBatch
from choreo.runtime.intake import Intake
from choreo.runtime.invoker import AttemptFailed
from choreo.step import Decision, Emitted, Outcome, Participant, Reemit, Rules, Run, SagaMemory
from choreo.transport import Record

Invoke = Callable[[Memory, Run], Coroutine[Any, Any, Emitted]]
"""Calls a handler once; raises `AttemptFailed` where that does not come to a result that counts."""


class SagaProcessor:
    """Takes sagas through one service.

    Args:
        rules: The service, compiled.
        invokers: What calls its handlers, by name.
        intake: Sets aside the records that cannot be processed.
        clock: Where time comes from.
    """

    def __init__(self, rules: Rules, invokers: Mapping[str, Invoke], intake: Intake, clock: Clock) -> None:
        self.rules = rules
        self.invokers = invokers
        self.intake = intake
        self.clock = clock

    async def process(
        self, saga_batch: SagaBatch, items: Iterable[tuple[Record, Item]], memory: Memory, work: BatchResult
    ) -> None:
        """Process records in their order, then the timers that are due.

        Args:
            saga_batch: The saga, and where its outputs go.
            items: Its records, with what each holds.
            memory: What is remembered of it; this changes it, and nobody else may meanwhile.
            work: What the batch comes to.
        """
        saga = _OneSaga(self, saga_batch, memory, work, Participant(SagaMemory(self.rules, memory, saga_batch.saga_id)))
        if memory.owed:
            saga.publish_owed()
        for record, item in items:
            try:
                if item is None:
                    saga.end()
                elif isinstance(item, Command):
                    await saga.obey(item)
                else:
                    outcome = saga.participant.event_arrived(item)
                    saga.write(outcome)
                    if outcome.steps:
                        await saga.take(outcome.steps, comes_again=True)
            except UndecodableRecord as error:
                self.intake.dead_letter(record, error, saga_batch.outputs, work)
            if memory.held:
                await saga.release()
        if saga_batch.woken and memory.timers:
            await saga.wake()


class _OneSaga(Struct):
    """One saga while its part of a batch is processed."""

    processor: SagaProcessor
    saga_batch: SagaBatch
    memory: Memory
    work: BatchResult
    participant: Participant

    async def take(self, steps: Iterable[Decision], *, comes_again: bool) -> None:
        """Take steps one after another, each with its `otherwise` where its retries are spent.

        `comes_again`: The record that made them ready is read again after a crash.
        """
        participant, clock = self.participant, self.processor.clock
        for step in steps:
            if isinstance(step, Run):
                try:
                    emitted = await self.processor.invokers[step.handler.name](self.memory, step)
                except AttemptFailed as failed:
                    outcome = participant.attempt_failed(step, failed.error, clock.now(), final=failed.final)
                else:
                    outcome = participant.attempt_returned(step, emitted, clock.now())
            else:
                outcome = participant.not_run(step)
            self.write(outcome)
            # A step whose `otherwise` comes next has no fence yet; that one leaves it.
            fence = self.memory.fences.get(step.key)
            if not comes_again and fence is not None and fence.status is not Status.RETRYING:
                self._owe(step.key)
            if outcome.steps:
                await self.take(outcome.steps, comes_again=comes_again)

    async def release(self) -> None:
        """Process the held events whose turn has come: behind a step that is settled, or the start."""
        while self.memory.held:
            try:
                outcome = self.participant.held_event_released()
                if outcome is None:
                    return
                self.write(outcome)
                await self.take(outcome.steps, comes_again=False)
            except UndecodableRecord as error:
                self._journal([Note("dropped", reason="it waited, and can be read no more", error=str(error))])

    async def wake(self) -> None:
        """Process the timers that are due, the longest due first."""
        clock = self.processor.clock
        for key in self.participant.timers_due(now_ms(clock.now())):
            self.work.counts["timers"] += 1
            try:
                outcome = self.participant.timer_due(key, clock.now())
                self.write(outcome)
                if key[0] is TimerKind.LATER:
                    self._owe(key[1:4])
                await self.take(outcome.steps, comes_again=False)
            except UndecodableRecord as error:
                kind = "parked" if key[0] is TimerKind.RETRY else "dropped"
                self._journal([Note(kind, *key[1:4], reason="it was due, and can be read no more", error=str(error))])
            if self.memory.held:
                await self.release()

    async def obey(self, command: Command) -> None:
        """Carry out a person's command."""
        outcome = self.participant.command_given(command, self.processor.clock.now())
        self.write(outcome)
        if outcome.events:
            self._owe((command.handler, command.branch, command.trigger))
        await self.take(outcome.steps, comes_again=False)

    def end(self) -> None:
        """Record that the saga has ended."""
        if self.participant.saga_ended(now_ms(self.processor.clock.now())):
            self.work.ended.append((self.saga_batch.partition, self.saga_batch.saga_id, self.memory.ended_ms))

    def publish_owed(self) -> None:
        """Publish again the outputs that may be lost in a crash; forget them where they are known to be published."""
        if not self.saga_batch.owed:
            self.memory.owed.clear()
            return
        for key in self.memory.owed:
            if key[0] in self.processor.rules.handlers and key in self.memory.fences:
                outcome = self.participant.not_run(Reemit(key))
                self._publish(outcome)
                self._journal(outcome.notes)

    def write(self, outcome: Outcome) -> None:
        """Add an outcome to the batch: events, the saga's end, notes and errors."""
        if outcome.events:
            self._publish(outcome)
        if outcome.ended is not None:
            # The end counts for its owner as come (rule 8); reading it back changes nothing.
            self.end()
        if outcome.notes:
            self._journal(outcome.notes)
        if outcome.error is not None:
            self.work.errors.append(outcome.error)

    def _publish(self, outcome: Outcome) -> None:
        rules, outputs = self.processor.rules, self.saga_batch.outputs
        for envelope in outcome.events:
            outputs.append(rules.codec.outgoing(envelope))
        ended = outcome.ended
        if ended is not None:
            completed = bool(self.memory.flags & MemoryFlag.COMPLETED)
            outputs.append(end(ended, rules.service, completed=completed, now=ended.occurred_at))

    def _journal(self, added: Iterable[Note]) -> None:
        service, saga_id, saga_type = (
            self.processor.rules.service,
            self.saga_batch.saga_id,
            self.participant.saga.saga_type,
        )
        for note in added:
            self.saga_batch.outputs.append(journal(note, service, saga_id, saga_type, self.processor.clock.now()))
            self.work.counts[note.kind] += 1

    def _owe(self, key: FenceKey) -> None:
        if self.processor.rules.at_least_once:
            self.memory.owed[key] = None


def now_ms(now: datetime) -> int:
    """Return the present as timers have it, rounded down: what is due at a moment is due at it, not before."""
    return int(now.timestamp() * 1000)
