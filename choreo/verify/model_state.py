"""Where everything in the model stands, and what may happen next.

The records of the model and its bounds live here, and the numbers and bits that stand in states for memories, events
and effects: the same in thousands of states, each is kept once. What is done with them is the `saga_model`'s business.
"""

from dataclasses import dataclass
from typing import NamedTuple

from choreo.event import Envelope
from choreo.memory import TimerKey
from choreo.verify.actor import Move

END = -1
"""What lies in a queue for the end of the saga."""
AGAIN = ""
"""The queue of what comes to a service a second time."""
OUTSIDE = "outside"
Queues = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far the model goes.

    Attributes:
        duplicates: Records that come twice to a service.
        crashes: Crashes between an effect and its commit.
        failures: Steps that raise or run into their time limit: once, or until their retries are spent.
        branches: Most events in a list that opens branches.
        states_max: States that are looked at; beyond it the answer says that it is not the whole.
    """

    duplicates: int = 1
    crashes: int = 1
    failures: int = 1
    branches: int = 2
    states_max: int = 2_000_000


class ModelState(NamedTuple):
    """Where everything stands; numbers stand for what the register knows."""

    memories: tuple[int, ...]  # What each service remembers.
    queues: Queues  # What has been committed and not yet read, a service and topic.
    history: int  # Every event that was ever committed, a bit each.
    loose: int  # Effects that no commit tells of, a bit each.
    # What steps came to whose commit was lost, a bit each: the same idempotency key gets the same answer.
    answered: int
    duplicates: int  # Records that came twice.
    crashes: int
    failures: int  # Steps that failed so far.
    outside: int  # Events from outside that have not come, a bit each.


class Action(NamedTuple):
    """One way on: what happened."""

    service: int  # To whom; `outside` for an event from there.
    item: int | TimerKey  # The event's number, a timer, or `END`.
    move: Move | None  # What came of it; None for an event from outside.
    crash: bool = False  # It ran, and crashed before its commit.
    twice: bool = False  # The record comes once more.
    again: bool = False  # It has come before.


class NumberedMove(NamedTuple):
    """A move in numbers: what it does to a state."""

    move: Move
    memory: int  # What the service remembers then.
    events: tuple[int, ...]  # What is published.
    bits: int  # The same, a bit each.
    effects: int  # Effects that are committed with it.
    loose: int  # Effects that may have been made, and no commit tells of.
    undone: int  # Effects that it undoes.
    answers: int  # What its steps came to.
    answering: tuple[str, ...]  # Those steps, by their idempotency keys.


class Register:
    """All that the states of one model are made of."""

    def __init__(self) -> None:
        self.events: list[Envelope] = []
        self.memories: list[bytes] = []
        self._events: dict[tuple[object, ...], int] = {}
        self._memories: dict[bytes, int] = {}
        self._effects: dict[str, int] = {}
        self._steps: dict[str, str] = {}
        self._answers: dict[tuple[str, tuple[str, ...]], int] = {}
        self._answers_of: dict[str, int] = {}

    def event(self, envelope: Envelope) -> int:
        """Return an event's number: two that differ in anything, causes among it, are two."""
        key = tuple(envelope)[1:]
        number = self._events.get(key)
        if number is None:
            number = self._events[key] = len(self.events)
            self.events.append(envelope)
        return number

    def memory(self, data: bytes) -> int:
        """Return a memory's number."""
        number = self._memories.get(data)
        if number is None:
            number = self._memories[data] = len(self.memories)
            self.memories.append(data)
        return number

    def known(self, service: str, move: Move) -> NumberedMove:
        """Return a move in numbers."""
        events = tuple(self.event(each) for each in move.events)
        bits = effects = loose = undone = answers = 0
        for number in events:
            bits |= 1 << number
        raised = {attempt.key for attempt in move.attempts if attempt.failed}
        for attempt in move.attempts:
            self._steps[attempt.key] = f"{service}.{attempt.handler}"
            if attempt.effect and attempt.failed:
                loose |= self._effect(attempt.key)
            elif attempt.effect:
                effects |= self._effect(attempt.key)
            if attempt.failed:
                continue
            if attempt.undoes_key:
                undone |= self._effect(attempt.undoes_key)
            if attempt.key in raised:
                continue  # An `otherwise` speaks for a step that had no answer: another run may get one.
            answer = self._answers.setdefault((attempt.key, attempt.told), 1 << len(self._answers))
            self._answers_of[attempt.key] = self._answers_of.get(attempt.key, 0) | answer
            answers |= answer
        answering = tuple(each.key for each in move.attempts if each.key not in raised)
        return NumberedMove(move, self.memory(move.memory), events, bits, effects, loose, undone, answers, answering)

    def contradicts(self, answered: int, known: NumberedMove) -> bool:
        """Return whether a step comes to something else than it came to before a crash."""
        return any(answered & self._answers_of[key] & ~known.answers for key in known.answering)

    def steps(self, effects: int) -> list[str]:
        """Return the steps that made these effects."""
        return [self._steps[key] for key, bit in self._effects.items() if effects & bit]

    def _effect(self, key: str) -> int:
        return self._effects.setdefault(key, 1 << len(self._effects))
