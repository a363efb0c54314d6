"""One saga's way through the core: what came for it, then what is due, each with all that follows.

Driving `step` around the calls lives here, with what is published and noted of it; what to do is `step`'s and calling a
handler `invoke`'s. The engine takes every chain of a batch through it, several side by side, each in its order.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any

from choreo.clock import Clock
from choreo.command import Command
from choreo.errors import RetriesExhausted, UndecodableRecord
from choreo.event import Envelope
from choreo.memory import Memory, MemoryFlag, Status, TimerKind
from choreo.runtime import notes
from choreo.runtime.batch import BatchResult, Item, SagaBatch
from choreo.runtime.intake import Intake
from choreo.runtime.invoke import AttemptFailed
from choreo.step import (
    Call,
    Emitted,
    Note,
    Outcome,
    Rules,
    admit,
    call_off,
    due,
    end,
    fail,
    fire,
    free,
    park,
    plan,
    reemit,
    repair,
    settle,
    settle_later,
    skip,
)
from choreo.transport import Record

Invoke = Callable[[Memory, Call], Coroutine[Any, Any, Emitted]]
"""Calls a handler once; raises `AttemptFailed` where that does not come to a result that counts."""


class Course:
    """Takes sagas through one service.

    Args:
        rules: The service, compiled.
        invokers: What calls its handlers, by name.
        intake: Where records go that turn out to be of no use.
        clock: Where time comes from.
    """

    def __init__(self, rules: Rules, invokers: Mapping[str, Invoke], intake: Intake, clock: Clock) -> None:
        self._rules = rules
        self._invokers = invokers
        self._intake = intake
        self._clock = clock
        self._alone = not rules.owned

    async def take(
        self, chain: SagaBatch, items: Iterable[tuple[Record, Item]], memory: Memory, work: BatchResult
    ) -> None:
        """Do all that a chain brings, on a memory that nobody else holds."""
        rules = self._rules
        if memory.owed:
            self._vouch(chain, memory, work)
        for record, item in items:
            try:
                if item is None:
                    self._end(chain, memory, work)
                elif isinstance(item, Command):
                    await self._obey(chain, memory, item, work)
                else:
                    if memory.timers:
                        call_off(rules, memory, item)
                    if (self._alone and not memory.waiting) or admit(rules, memory, item):
                        await self._arrive(chain, memory, item, work)
            except UndecodableRecord as error:
                self._intake.dead_letter(record, error, chain.outputs, work)
            if memory.held:
                await self._release(chain, memory, work)
        if chain.woken and memory.timers:
            await self._wake(chain, memory, work)

    async def _arrive(
        self, chain: SagaBatch, memory: Memory, envelope: Envelope, work: BatchResult, *, owing: bool = False
    ) -> None:
        calls, told = plan(self._rules, memory, envelope)
        if told:
            self._note(chain, work, told, envelope)
        for call in calls:
            await self._do(chain, memory, call, work, owing=owing)

    async def _do(
        self, chain: SagaBatch, memory: Memory, call: Call, work: BatchResult, *, owing: bool = False
    ) -> None:
        """Take one step and, where its retries are spent, its `otherwise`.

        It is `owing` where no record comes again that would make it ready: without transactions, what it emits is owed
        until it is known to be published; and so is the note of a step that emits nothing.
        """
        rules = self._rules
        while True:
            if call.again or call.skip or call.error:
                outcome = self._settle_unrun(memory, call)
            else:
                try:
                    emitted = await self._invokers[call.handler.name](memory, call)
                except AttemptFailed as failed:
                    outcome = fail(rules, memory, call, failed.error, self._clock.now(), final=failed.final)
                else:
                    outcome = settle(rules, memory, call, emitted, self._clock.now())
            self._publish(chain, work, outcome, call.ready, memory)
            if owing and rules.at_least_once:
                key = (call.name, call.branch, call.trigger)
                if memory.fences[key].status is not Status.RETRYING:
                    memory.owed[key] = None
            if outcome.then is None:
                return
            call = outcome.then

    def _settle_unrun(self, memory: Memory, call: Call) -> Outcome:
        rules = self._rules
        if call.again:
            return reemit(rules, memory, call)
        if call.skip:
            return skip(rules, memory, call)
        return park(rules, memory, call, RetriesExhausted(call.error, service=rules.service))

    def _emit(self, chain: SagaBatch, outcome: Outcome, memory: Memory) -> None:
        """Add a step's events and, where it ended the saga, the record of that."""
        outgoing = self._rules.codec.outgoing
        for envelope in outcome.events:
            chain.outputs.append(outgoing(envelope))
        if outcome.ended is not None:
            completed = bool(memory.flags & MemoryFlag.COMPLETED)
            now = outcome.ended.occurred_at
            chain.outputs.append(notes.end(outcome.ended, self._rules.service, completed=completed, now=now))

    def _publish(self, chain: SagaBatch, work: BatchResult, outcome: Outcome, near: Envelope, memory: Memory) -> None:
        self._emit(chain, outcome, memory)
        if outcome.ended is not None:
            # The end counts for its owner as come (rule 8); reading it back changes nothing.
            self._end(chain, memory, work)
        if outcome.notes:
            self._note(chain, work, outcome.notes, near)
        if outcome.error is not None:
            work.errors.append(outcome.error)

    def _note(self, chain: SagaBatch, work: BatchResult, told: list[Note], near: Envelope | None) -> None:
        saga_type = near.saga_type if near is not None else ""
        for note in told:
            now = self._clock.now()
            chain.outputs.append(notes.journal(note, self._rules.service, chain.saga_id, saga_type, now))
            work.counts[note.kind] += 1

    async def _release(self, chain: SagaBatch, memory: Memory, work: BatchResult) -> None:
        """Go on with events that waited behind a step, or for the start, as far as their turn has come."""
        while True:
            try:
                envelope = free(self._rules, memory, chain.saga_id)
                if envelope is None:
                    return
                await self._arrive(chain, memory, envelope, work, owing=True)
            except UndecodableRecord as error:
                self._note(
                    chain, work, [Note("dropped", reason="it waited, and can be read no more", error=str(error))], None
                )

    async def _wake(self, chain: SagaBatch, memory: Memory, work: BatchResult) -> None:
        rules, saga_id = self._rules, chain.saga_id
        for key in due(memory, self._now_ms()):
            if key not in memory.timers:
                continue  # Called off by what another timer came to.
            work.counts["timers"] += 1
            try:
                if key[0] is TimerKind.LATER:
                    outcome = settle_later(rules, memory, saga_id, key, self._clock.now())
                    near = outcome.events[0] if outcome.events else None
                    self._publish(chain, work, outcome, near or _nobody(saga_id), memory)
                    if rules.at_least_once:
                        memory.owed[key[1:4]] = None
                elif (call := fire(rules, memory, saga_id, key)) is not None:
                    await self._do(chain, memory, call, work, owing=True)
            except UndecodableRecord as error:
                kind = "parked" if key[0] is TimerKind.RETRY else "dropped"
                reason = "it was due, and can be read no more"
                self._note(chain, work, [Note(kind, *key[1:4], reason=reason, error=str(error))], None)
            if memory.held:
                await self._release(chain, memory, work)

    async def _obey(self, chain: SagaBatch, memory: Memory, command: Command, work: BatchResult) -> None:
        call, outcome = repair(self._rules, memory, chain.saga_id, command, self._clock.now())
        near = call.ready if call is not None else _nobody(chain.saga_id)
        self._publish(chain, work, outcome, near, memory)
        if self._rules.at_least_once and outcome.events:
            memory.owed[command.handler, command.branch, command.trigger] = None
        if call is not None:
            await self._do(chain, memory, call, work, owing=True)

    def _end(self, chain: SagaBatch, memory: Memory, work: BatchResult) -> None:
        if not memory.ended_ms:
            memory.ended_ms = self._now_ms()
            work.ended.append((chain.partition, chain.saga_id, memory.ended_ms))
        if memory.timers:
            end(memory)

    def _vouch(self, chain: SagaBatch, memory: Memory, work: BatchResult) -> None:
        """Publish again what nobody vouches for, or forget that it was owed: this process has seen it committed."""
        if not chain.owed:
            memory.owed.clear()
            return
        nobody = _nobody(chain.saga_id)
        for name, branch, trigger in memory.owed:
            handler = self._rules.handlers.get(name)
            if handler is not None and (name, branch, trigger) in memory.fences:
                outcome = reemit(self._rules, memory, Call(handler, branch, trigger, nobody, (), (), again=True))
                self._emit(chain, outcome, memory)
                self._note(chain, work, outcome.notes, None)

    def _now_ms(self) -> int:
        return now_ms(self._clock.now())


def now_ms(now: datetime) -> int:
    """Return the present as timers have it, rounded down: what is due at a moment is due at it, not before."""
    return int(now.timestamp() * 1000)


def _nobody(saga_id: str) -> Envelope:
    """Return an envelope that says nothing but which saga is spoken of."""
    return Envelope(None, b"", "", "", saga_id)  # type: ignore[arg-type]  # It is looked at for its ids alone.
