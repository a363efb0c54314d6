"""A service as it takes part in one saga: what happens to it, and what it makes of that.

`Participant` decides; it does no I/O, never waits and reads no clock: the runtime, the simulation and the model checker
drive this same code. Each thing that may happen is one method, and each returns an `Outcome`: what to publish, what to
journal, and which steps to take next. Every step that it names comes back to it: as `attempt_returned` or
`attempt_failed` where it was a call to make (`Run`), and as `not_run` where it was not.

| what happens                              | where it is decided                  | rules            |
|-------------------------------------------|--------------------------------------|------------------|
| an event arrives: is it its turn?         | `Participant.event_arrived`          | 5, 26            |
| … for the first time, or again            | `Participant._plan`                  | 2, 6, 10         |
| … and completes a join or fan-in          | `Joins.completed`                    | 6, 7, 12         |
| … and is the cause of a compensation      | `Compensations.caused`               | 14 to 18         |
| … and is an original, later than its cause| `Compensations.late_original`        | 14               |
| … and its step was overtaken              | `Compensations.allowed`              | 3, 15, 16, 20    |
| … and sets or ends deadlines              | `SagaTimers`                         | 23, 24           |
| an attempt returned                       | `Settlement.returned`                | 2, 3, 8, 9, 12   |
| … in the owner, and ends the saga         | `Settlement._owner_may`              | 19               |
| an attempt failed                         | `Retries.failed`                     | 26, 27           |
| a step is skipped, parked, emitted again  | `Participant.not_run`                | 10, 15, 20, 27   |
| a timer is due                            | `Participant.timer_due`              | 23, 24, 26       |
| a person gives a command                  | `Repair.given`                       | 28               |
| the saga has ended                        | `Participant.saga_ended`             | 5, 24            |
"""

from collections.abc import Iterator
from datetime import datetime
from zlib import crc32

from msgspec import Struct

from choreo.errors import RetriesExhausted
from choreo.event import Envelope
from choreo.memory import MemoryFlag, Recorded, Status, TimerKey, TimerKind
from choreo.records import Command, Note
from choreo.scope import reaches
from choreo.step.compensations import Compensations
from choreo.step.decisions import Emitted, Outcome, Park, Reemit, Run, Skip
from choreo.step.joins import Joins
from choreo.step.repair import Repair
from choreo.step.retries import Retries
from choreo.step.rules import Reaction
from choreo.step.saga_memory import SagaMemory, record
from choreo.step.saga_timers import SagaTimers
from choreo.step.settlement import Settlement


class Participant(Struct, frozen=True):
    """One service in one saga, on a memory that nobody else changes meanwhile."""

    saga: SagaMemory

    def event_arrived(self, event: Envelope) -> Outcome:
        """Return what an event comes to that was read; nothing yet where it is not its turn, and it is held.

        The owner of a saga waits for its start: topics have no order between them, and an owner ends only a saga whose
        start it remembers (rule 5). Behind a retrying step the later events of its branch wait (rule 26).

        Raises:
            UndecodableRecord: If too much waits already (rule 6), or what it needs cannot be read any more; the record
                belongs into the dead letters.
        """
        memory = self.saga.memory
        self.saga.saga_type = event.saga_type or self.saga.saga_type
        if memory.timers:
            SagaTimers(self.saga).call_off(event)
        if (self.saga.rules.owned or memory.waiting) and not self._may_go(event):
            if event.event_id not in memory.held:
                self.saga.make_room()
                memory.held[event.event_id] = record(event, body=True)
            return Outcome()
        return self._plan(event)

    def held_event_released(self) -> Outcome | None:
        """Take the first held event whose turn has come and return what it comes to; None where there is none.

        Raises:
            UndecodableRecord: If it cannot be read any more; it is dropped.
        """
        held = self.saga.memory.held
        for event_id, recorded in held.items():
            if recorded.type in self.saga.rules.reactions and self._is_its_turn(recorded):
                del held[event_id]
                return self._plan(self.saga.recall(recorded))
        return None

    def attempt_returned(self, run: Run, emitted: Emitted, now: datetime) -> Outcome:
        """Return what a call that returned comes to: it is published or, where it may not be (rule 9), parked."""
        return Settlement(self.saga).returned(run, emitted, now)

    def attempt_failed(self, run: Run, error: Exception, now: datetime, *, final: bool = False) -> Outcome:
        """Return what a call that failed comes to (rules 26 and 27); `final` means that no retry would help."""
        return Retries(self.saga).failed(run, error, now, final=final)

    def not_run(self, step: Park | Skip | Reemit) -> Outcome:
        """Return what a step comes to whose handler is not called."""
        if isinstance(step, Park):
            return Retries(self.saga).park(step.run, RetriesExhausted(step.reason, service=self.saga.rules.service))
        return Settlement(self.saga).skipped(step) if isinstance(step, Skip) else Settlement(self.saga).again(step)

    def timers_due(self, now_ms: int) -> Iterator[TimerKey]:
        """Yield the timers that are due, the longest due first, but for those called off in the meantime."""
        return SagaTimers(self.saga).due(now_ms)

    def timer_due(self, key: TimerKey, now: datetime) -> Outcome:
        """Return what a timer comes to that is due, and take it off the memory.

        Raises:
            UndecodableRecord: If its events cannot be read any more; a step that was to be retried is parked.
        """
        if key[0] is TimerKind.LATER:
            return Settlement(self.saga).later_due(key, now)
        step = Retries(self.saga).take(key) if key[0] is TimerKind.RETRY else SagaTimers(self.saga).take_deadline(key)
        return Outcome(steps=[step] if step is not None else [])

    def command_given(self, command: Command, now: datetime) -> Outcome:
        """Return what a person's command comes to: a waiting step is tried again, or taken as done (rule 28).

        A command meets the fence as everything else does: it is safe to give twice, and the first to commit wins.

        Raises:
            UndecodableRecord: If the step's events cannot be read any more.
        """
        return Repair(self.saga).given(command, now)

    def saga_ended(self, now_ms: int) -> bool:
        """Record that the saga has ended and drop what ends with it; return whether that is news."""
        memory = self.saga.memory
        news = not memory.ended_ms
        if news:
            memory.ended_ms = now_ms
        if memory.timers:
            SagaTimers(self.saga).end()
        return news

    def _plan(self, event: Envelope) -> Outcome:
        """Return the steps that an event makes ready and the fences allow, and what is to be journalled at once."""
        rules, fences, outcome = self.saga.rules, self.saga.memory.fences, Outcome()
        reaction = rules.reactions[event.type]
        if not reaction.plain and not self._remember(reaction, event, outcome):
            return outcome
        steps = outcome.steps
        if reaction.undoes or reaction.undone_by:
            steps += Compensations(self.saga).set_going(reaction, event)
        for handler in reaction.singles:
            key, check = (handler.name, event.branch, event.event_id), crc32(event.body)
            fence = fences.get(key)
            if fence is None:
                steps += Compensations(self.saga).allowed(Run(handler, key, event, (event,), (event,), check))
            elif fence.check != check:
                outcome.notes.append(_differs(handler.name, event))
            else:
                steps += Compensations(self.saga).again(key, event)
        for join in reaction.joins:
            steps += Joins(self.saga).completed(join, event)
        if reaction.deadlines:
            steps += SagaTimers(self.saga).set_deadlines(event)
        return outcome

    def _remember(self, reaction: Reaction, event: Envelope, outcome: Outcome) -> bool:
        """Record an event where that is wanted; return whether there is anything to plan for it."""
        memory = self.saga.memory
        known = memory.events.get(event.event_id)
        if known is not None:
            if known.check != crc32(event.body):
                outcome.notes.append(_differs("", event))
                return False
            if known.read:
                # All that it made ready was committed with it; only without transactions may outputs be missing.
                return self.saga.rules.at_least_once
            memory.events[event.event_id] = known._replace(read=True)
        elif reaction.keep and not self._is_spent(reaction):
            self.saga.make_room()
            memory.events[event.event_id] = record(event, body=reaction.keep_body)
        if reaction.failure:
            memory.flags |= MemoryFlag.ABORTED
        return True

    def _is_spent(self, reaction: Reaction) -> bool:
        """Return whether only joins want an event and all of them have run at the root, where they never run again."""
        if not reaction.joins or reaction.undoes or reaction.undone_by:
            return False
        fences = self.saga.memory.fences
        return all(reaction.type in join.alone and (join.handler.name, "", "") in fences for join in reaction.joins)

    def _may_go(self, event: Envelope) -> bool:
        """Return whether it is an event's turn, and take note of the start of a saga that this service owns."""
        if not self._is_its_turn(event):
            return False
        if self.saga.rules.reactions[event.type].starts:
            self.saga.memory.flags |= MemoryFlag.STARTED
        return True

    def _is_its_turn(self, event: Envelope | Recorded) -> bool:
        rules, memory = self.saga.rules, self.saga.memory
        reaction = rules.reactions[event.type]
        if not memory.flags & MemoryFlag.STARTED and event.saga_type in rules.owned and not reaction.starts:
            return False
        if not memory.waiting:
            return True
        retrying = [key for key in memory.waiting if memory.fences[key].status is Status.RETRYING]
        if all(branch != event.branch for _, branch, _ in retrying):
            return True
        # A cause that cancels a retrying step does not wait behind it (rules 15 and 16).
        return any(
            name in undo.guarded and reaches(event, branch, rules.failures)
            for undo in reaction.undoes
            for name, branch, _ in retrying
        )


def _differs(handler: str, event: Envelope) -> Note:
    return Note(
        "duplicate-differs",
        handler,
        event.branch,
        event.event_id,
        reason="the same event_id came with another body; the first one stands",
        event_type=event.type,
        event_id=event.event_id,
    )
