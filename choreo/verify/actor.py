"""One service in the model: all that may come of one thing that happens to it.

The real `SagaProcessor` (`runtime`) is driven here with handlers that return each outcome in turn, on a memory given
as bytes; what happens between services does not live here (`model`). Nothing is awaited, and the clock stands still.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from choreo.clock import ManualClock
from choreo.event import Envelope
from choreo.handler import Handler, Kind
from choreo.memory import Memory, TimerKey, TimerKind
from choreo.records import ENDS, JOURNAL
from choreo.runtime.batch import BatchResult, Item, SagaBatch
from choreo.runtime.intake import Intake
from choreo.runtime.invoker import AttemptFailed
from choreo.runtime.saga_processor import Invoke, SagaProcessor, now_ms
from choreo.scope import step_key
from choreo.service import Declaration
from choreo.step import Emitted, Rules, Run
from choreo.transport import Outgoing, Record
from choreo.verify.handler_outcomes import Choices, outcomes, told_of
from choreo.verify.model_codec import ModelCodec

HOPS_MAX = 40
"""Longest chain of events from the start; what is longer does not come to rest."""
DEADLINE = timedelta(days=1)
"""What stands for a deadline that is computed from an event: the model's events have no fields."""


class Attempt(NamedTuple):
    """One call of one handler."""

    handler: str
    key: str  # The step's idempotency key.
    undoes_key: str  # That of the step it undoes.
    effect: bool  # It uses something outside the model, and a compensation undoes what it does there.
    told: tuple[str, ...]  # What it returned, event types, or that it raised.
    failed: bool
    attempt: int  # Which attempt it was.
    final: bool  # It raised for good: its retries are spent.


class Move(NamedTuple):
    """One thing that may come of what happens to a service."""

    memory: bytes  # What it remembers then.
    events: tuple[Envelope, ...]  # What it publishes.
    ended: bool  # It ends the saga.
    notes: tuple[tuple[str, bytes], ...]  # What it journals: `ce_id` and body of each.
    attempts: tuple[Attempt, ...]  # The handlers it called.
    failures: int  # Steps that failed, beyond those that failed before.
    parked: str  # A step that is set aside, and why.
    unread: bool  # Something could not be taken, and went to the dead letters.


class Actor:
    """One service; lists that its handlers return have `branches` events at most."""

    def __init__(self, declaration: Declaration, *, branches: int) -> None:
        handlers = tuple(
            replace(each, within=DEADLINE) if callable(each.within) else each for each in declaration.handlers
        )
        self.declaration = replace(declaration, handlers=handlers)
        self._codec = ModelCodec(self.declaration.event_types)
        self.rules = Rules(self.declaration, self._codec, hops_max=HOPS_MAX)
        self._clock = ManualClock()
        self._choices = Choices()
        self._attempts: list[Attempt] = []
        self._failures = 0
        intake = Intake(self.rules, self._clock, {}, None, lambda _: True)
        invokers = {each.name: self._invoker(each, branches) for each in handlers}
        self._processor = SagaProcessor(self.rules, invokers, intake, self._clock)
        self.heeds_ends = any(each.kind is Kind.DEADLINE or each.later for each in handlers)

    @property
    def name(self) -> str:
        """The service."""
        return self.rules.service

    def deliver(self, memory: bytes, saga_id: str, item: Item) -> list[Move]:
        """Return all that may come of an event, of a command or, for None, of the saga's end."""
        record = Record("", 0, 0, saga_id.encode(), b"", [], 0)
        return self._moves(memory, lambda: (SagaBatch(0, saga_id.encode(), [record], saga_id), [(record, item)]))

    def fire(self, memory: bytes, saga_id: str, key: TimerKey) -> list[Move]:
        """Return all that may come of a timer that is due."""
        decoded, now = Memory.decode(memory), now_ms(self._clock.now())
        for each, timer in decoded.timers.items():
            decoded.timers[each] = timer._replace(due_ms=now if each == key else max(timer.due_ms, now + 1))
        return self._moves(decoded.encode(), lambda: (SagaBatch(0, saga_id.encode(), [], saga_id, woken=True), []))

    def timers(self, memory: bytes) -> list[TimerKey]:
        """Return the timers that may be the next one due: of those set by one event, the first."""
        first: dict[tuple[TimerKind, str, str], tuple[int, TimerKey]] = {}
        for key, timer in Memory.decode(memory).timers.items():
            kind, name, branch, trigger, _ = key
            group = (kind, branch, trigger if kind is not TimerKind.RETRY else f"{name} {trigger}")
            first[group] = min(first.get(group, (timer.due_ms, key)), (timer.due_ms, key))
        return [key for _, key in first.values()]

    def _moves(self, memory: bytes, chain: Callable[[], tuple[SagaBatch, list[tuple[Record, Item]]]]) -> list[Move]:
        moves: dict[object, Move] = {}
        choices: Choices | None = Choices()
        while choices is not None:
            self._choices, self._attempts, self._failures = choices, [], 0
            move = self._run(Memory.decode(memory), *chain())
            # An event may hold what cannot be hashed; the rest of its envelope tells it from others.
            moves[move._replace(events=tuple(each[1:] for each in move.events))] = move  # type: ignore[misc]
            choices = choices.following()
        return list(moves.values())

    def _run(self, memory: Memory, chain: SagaBatch, items: list[tuple[Record, Item]]) -> Move:
        work = BatchResult()
        self._codec.published.clear()
        running = self._processor.process(chain, items, memory, work)
        try:
            running.send(None)
        except StopIteration:
            pass
        else:
            raise AssertionError("the model's handlers return at once")
        return Move(
            memory.encode(),
            tuple(self._codec.published),
            any(each.topic == ENDS for each in chain.outputs),
            tuple(_told(each) for each in chain.outputs if each.topic == JOURNAL),
            tuple(self._attempts),
            self._failures,
            "; ".join(str(each) for each in work.errors),
            bool(work.counts["dead-lettered"]),
        )

    def _invoker(self, handler: Handler, branches: int) -> Invoke:
        rules, possible = self.rules, outcomes(handler, branches)
        effect = bool(handler.uses) and bool(rules.guards.get(handler.name))

        async def invoke(_memory: Memory, run: Run) -> Emitted:
            chosen = self._choices.choose(len(possible) + (1 if run.attempt > 1 else 2))
            failed = chosen >= len(possible)
            told = ("raises",) if failed else tuple(told_of(each) for each in possible[chosen])
            name, branch, trigger = run.key
            key = step_key(run.ready.saga_id, f"{rules.service}.{name}", branch, trigger)
            final = failed and (run.attempt > 1 or chosen > len(possible))
            self._attempts.append(Attempt(handler.name, key, run.undoes_key, effect, told, failed, run.attempt, final))
            if not failed:
                return possible[chosen]
            if run.attempt == 1:
                self._failures += 1
            raise AttemptFailed(RuntimeError("it raised"), final=final)

        return invoke


def _told(note: Outgoing) -> tuple[str, bytes]:
    return next(value or b"" for name, value in note.headers if name == "ce_id").decode(), note.value or b""
