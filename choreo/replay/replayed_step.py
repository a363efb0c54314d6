"""What one service did in one saga, step by step, read from its events and notes.

Finding the step behind every event, by the formula of its id, and how far every step came, by its notes, lives here.
The same code reads what is recorded and what today's code does; `difference` compares the two. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self

from choreo.clock import EPOCH, MICROSECOND
from choreo.event import Envelope, Event, emitted_id, short
from choreo.replay.recorded_saga import RecordedEvent
from choreo.scope import emitter, fork
from choreo.tracker.rows import NoteRow, as_written, fold_notes, parents

StepKey = tuple[str, str, str]
"""Handler name, branch and trigger: what makes two executions the same step."""

_RAN = frozenset({"completed", "delayed", "resolved", "dropped"})
SPENT = "retries spent"
REFUSED = "refused"
"""A command that changed nothing."""


class ReplayStatus(StrEnum):
    """How far a step came."""

    RAN = "ran"
    SKIPPED = "skipped"
    PARKED = "parked"
    RETRYING = "retrying"


class StepOutput(NamedTuple):
    """One event that a step emitted.

    Attributes:
        handler: Whose return it was: of an `otherwise`, its own name.
        parents: Ids of the events that it follows from; the first made its step ready.
        event: The event; None where today's code does not name its type, or cannot read it.
        masked: Placeholders stand for its sensitive fields.
        problem: Why it cannot be read, or "".
    """

    event_id: str
    type: str
    handler: str
    parents: tuple[str, ...]
    compensates_id: str
    branch: str
    at_us: int
    event: Event | None
    masked: bool = False
    problem: str = ""

    @classmethod
    def recorded(cls, recorded: RecordedEvent, event: Event | None, problem: str) -> Self:
        """Return a recorded event as its step's output."""
        seen = recorded.seen
        handler = emitter(seen.source)[1]
        given = (seen.event_id, seen.type, handler, parents(seen), seen.compensates_id, seen.branch, seen.at_us)
        return cls(*given, event, recorded.masked, problem)

    @classmethod
    def emitted(cls, envelope: Envelope) -> Self:
        """Return what today's code emitted as its step's output."""
        handler = emitter(envelope.source)[1]
        causes = (envelope.causation_id, *envelope.causes)
        given = (envelope.event_id, envelope.type, handler, causes, envelope.compensates_id, envelope.branch)
        return cls(*given, (envelope.occurred_at - EPOCH) // MICROSECOND, envelope.event)

    @property
    def ready(self) -> str:
        """The event that made its step ready, "" where it names none."""
        return self.parents[0] if self.parents else ""


class FailedAttempt(NamedTuple):
    """One attempt that failed.

    Attributes:
        error: The exception, as text.
        spent: No other attempt followed without a command.
        otherwise: It was an attempt of the step's `otherwise`.
    """

    error: str
    spent: bool
    otherwise: bool


@dataclass(slots=True)
class ReplayedStep:
    """One step, as its events and notes show it.

    Attributes:
        ready: The event that made it ready.
        why: Why it was skipped or parked, for people.
        failures: Its attempts that failed, those of its `otherwise` included, in order.
        given_up: Its retries were spent, and its `otherwise` came next.
        outputs: What it emitted, by index.
    """

    key: StepKey
    status: ReplayStatus = ReplayStatus.RAN
    ready: str = ""
    why: str = ""
    failures: list[FailedAttempt] = field(default_factory=list)
    given_up: bool = False
    outputs: dict[int, StepOutput] = field(default_factory=dict)

    @property
    def ran(self) -> bool:
        """Whether it ran."""
        return self.status is ReplayStatus.RAN

    @property
    def types(self) -> dict[int, str]:
        """The types of its events, by index."""
        return {index: each.type for index, each in sorted(self.outputs.items())}

    @property
    def emitted(self) -> str:
        """The types of its events, for people."""
        return ", ".join(short(each) for each in self.types.values()) or "nothing"

    @property
    def at_us(self) -> int:
        """When it emitted first, in microseconds since 1970; it must have emitted."""
        return min(each.at_us for each in self.outputs.values())

    def apply(self, note: NoteRow) -> None:
        """Bring the step up to date with one of its notes."""
        if note.kind != "dropped":
            # Of what was dropped, the note names the event that was, not the one that made the step ready.
            self.ready = self.ready or note.event_id
        if note.kind in _RAN:
            self.status = ReplayStatus.RAN
        elif note.kind == "skipped":
            self.status, self.why = ReplayStatus.SKIPPED, note.reason
        elif note.kind in {"retried", "parked"}:
            self.status = ReplayStatus.PARKED if note.kind == "parked" else ReplayStatus.RETRYING
            self.why = note.error
            spent = note.reason == SPENT
            self.failures.append(FailedAttempt(note.error, spent, self.given_up))
            self.given_up = self.given_up or (spent and note.kind == "retried")
        elif note.kind == "resumed":
            self.status, self.given_up = ReplayStatus.RETRYING, False


ReplayedSteps = Mapping[StepKey, ReplayedStep]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecords:
    """What a service wrote about a saga.

    Attributes:
        guards: `otherwise` handlers, and the handler whose step each ends.
        branches: The branch of every event of the saga, by event id.
    """

    service: str
    saga_id: str
    outputs: Sequence[StepOutput]
    notes: Sequence[NoteRow]
    guards: Mapping[str, str]
    branches: Mapping[str, str]


def steps_of(records: ServiceRecords) -> dict[StepKey, ReplayedStep]:
    """Return the steps that left a record: first those that emitted, in that order."""
    finder = _StepFinder(records)
    emitted = [(*finder.find(output), output) for output in records.outputs]
    steps = {key: ReplayedStep(key) for key, _, _ in emitted}
    for note in as_written(fold_notes(each for each in records.notes if each.handler and each.kind != REFUSED)):
        key = (note.handler, note.branch, note.trigger)
        steps.setdefault(key, ReplayedStep(key)).apply(note)
    for key, index, output in emitted:
        step = steps[key]
        step.status, step.ready = ReplayStatus.RAN, step.ready or output.ready
        step.outputs.setdefault(index, output)
    return steps


class _StepFinder:
    """Finds the step that emitted an event: the ids of all candidates are computed until one matches."""

    def __init__(self, records: ServiceRecords) -> None:
        self._records = records
        # What was dropped or is still to come has an index, too.
        gaps = sum(each.kind in {"dropped", "delayed", "completed"} for each in records.notes)
        by_cause: dict[str, int] = {}
        for each in records.outputs:
            by_cause[each.ready] = by_cause.get(each.ready, 0) + 1
        self._indexes = {ready: count + gaps for ready, count in by_cause.items()}
        self._ids: dict[tuple[StepKey, int], dict[str, int]] = {}

    def find(self, output: StepOutput) -> tuple[StepKey, int]:
        """Return the step and the index of its output; a step of its own for an id that matches no candidate."""
        many = self._indexes[output.ready]
        for key in dict.fromkeys(self._candidates(output)):
            index = self._ids_of(key, many).get(output.event_id)
            if index is not None:
                return key, index
        return (output.handler, output.branch, f"?{output.event_id}"), 0

    def _ids_of(self, key: StepKey, many: int) -> dict[str, int]:
        """Return the ids of so many outputs of a step, with their indexes."""
        if (key, many) not in self._ids:
            name, branch, trigger = key
            step, saga_id = f"{self._records.service}.{name}", self._records.saga_id
            self._ids[key, many] = {emitted_id(saga_id, step, branch, trigger, index): index for index in range(many)}
        return self._ids[key, many]

    def _candidates(self, output: StepOutput) -> Iterator[StepKey]:
        names = [output.handler]
        if guarded := self._records.guards.get(output.handler):
            names.insert(0, guarded)
        outer = output.branch.rpartition("/")[0]
        branches = [outer, output.branch] if output.branch else [""]
        gathered = _forks(self._records.branches.get(each, "") for each in output.parents)
        for trigger in (output.compensates_id, *output.parents[:1], "", *gathered):
            for branch in branches:
                for name in names:
                    yield name, branch, trigger


def _forks(branches: Iterable[str]) -> Iterator[str]:
    """Yield the keys of the fan-outs that branches come from: what gathers them has such a trigger."""
    for branch in branches:
        found = fork(branch)
        if found is not None:
            yield found.key
