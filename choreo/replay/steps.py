"""What one service did in one saga, step by step, read off what it left behind.

Finding the step behind every event, by the formula of its id, and the fate of every step, by its notes, lives here; the
same code reads what is recorded and what today's code comes to, and `comparison` holds the two against each other.
Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from choreo.event import Envelope, Event, emitted_id
from choreo.replay.recording import RecordedEvent
from choreo.schema.forms import EPOCH, MICROSECOND
from choreo.scope import emitter, fork
from choreo.tracker.seen import Noted, as_written, fold_notes, parents

StepKey = tuple[str, str, str]
"""Handler name, branch and trigger: what makes two executions the same step."""

_RAN = frozenset({"completed", "delayed", "resolved", "dropped"})
SPENT = "retries spent"
REFUSED = "refused"
"""A command that changed nothing."""


class Fate(StrEnum):
    """How far a step came."""

    RAN = "ran"
    SKIPPED = "skipped"
    PARKED = "parked"
    RETRYING = "retrying"


class Output(NamedTuple):
    """One event that a step emitted.

    Attributes:
        handler: Whose return it was: of an `otherwise`, its own name.
        parents: Ids of the events that it follows from; the first made its step ready.
        event: The event; None where today's code does not name its type, or cannot read it.
        masked: Its sensitive fields are stand-ins.
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

    @property
    def ready(self) -> str:
        """The event that made its step ready, "" where nobody says."""
        return self.parents[0] if self.parents else ""


class Failure(NamedTuple):
    """One attempt that failed.

    Attributes:
        error: The exception, as text.
        spent: No other attempt followed by itself.
        otherwise: It was an attempt of the step's `otherwise`.
    """

    error: str
    spent: bool
    otherwise: bool


@dataclass(slots=True)
class Step:
    """One step that left something behind.

    Attributes:
        ready: The event that made it ready.
        why: Why it was skipped or parked, for people.
        failures: Its attempts that failed, those of its `otherwise` included, in order.
        given_up: Its retries were spent, and its `otherwise` came next.
        outputs: What it emitted, by index.
    """

    key: StepKey
    fate: Fate = Fate.RAN
    ready: str = ""
    why: str = ""
    failures: list[Failure] = field(default_factory=list)
    given_up: bool = False
    outputs: dict[int, Output] = field(default_factory=dict)


def recorded_output(recorded: RecordedEvent, event: Event | None, problem: str = "") -> Output:
    """Return a recorded event as its step's output."""
    seen = recorded.seen
    handler = emitter(seen.source)[1]
    given = (seen.event_id, seen.type, handler, parents(seen), seen.compensates_id, seen.branch, seen.at_us)
    return Output(*given, event, recorded.masked, problem)


def fresh_output(envelope: Envelope) -> Output:
    """Return what today's code emitted as its step's output."""
    handler = emitter(envelope.source)[1]
    from_these = (envelope.causation_id, *envelope.causes)
    given = (envelope.event_id, envelope.type, handler, from_these, envelope.compensates_id, envelope.branch)
    return Output(*given, (envelope.occurred_at - EPOCH) // MICROSECOND, envelope.event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What a service left behind of a saga.

    Attributes:
        guards: `otherwise` handlers, and the handler whose step each ends.
        branches: The branch of every event of the saga, by event id.
    """

    service: str
    saga_id: str
    outputs: Sequence[Output]
    notes: Sequence[Noted]
    guards: Mapping[str, str]
    branches: Mapping[str, str]


def steps_of(traces: Traces) -> dict[StepKey, Step]:
    """Return the steps that left something behind: those that emitted first, in that order."""
    ids = _Ids(traces)
    emitted = [(*ids.find(output), output) for output in traces.outputs]
    steps = {key: Step(key) for key, _, _ in emitted}
    for note in as_written(fold_notes(each for each in traces.notes if each.handler and each.kind != REFUSED)):
        key = (note.handler, note.branch, note.trigger)
        _tell(steps.setdefault(key, Step(key)), note)
    for key, index, output in emitted:
        step = steps[key]
        step.fate, step.ready = Fate.RAN, step.ready or output.ready
        step.outputs.setdefault(index, output)
    return steps


def _tell(step: Step, note: Noted) -> None:
    """Take one note of a step's life into account."""
    if note.kind != "dropped":
        # Of what was dropped, the note names the event that was, not the one that made the step ready.
        step.ready = step.ready or note.event_id
    if note.kind in _RAN:
        step.fate = Fate.RAN
    elif note.kind == "skipped":
        step.fate, step.why = Fate.SKIPPED, note.reason
    elif note.kind in {"retried", "parked"}:
        step.fate = Fate.PARKED if note.kind == "parked" else Fate.RETRYING
        step.why = note.error
        spent = note.reason == SPENT
        step.failures.append(Failure(note.error, spent, step.given_up))
        step.given_up = step.given_up or (spent and note.kind == "retried")
    elif note.kind == "resumed":
        step.fate, step.given_up = Fate.RETRYING, False


class _Ids:
    """Finds the step that an event's id was made by: what it may have been is tried, and the id tells."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces
        # What was dropped or is still to come has an index, too.
        gaps = sum(each.kind in {"dropped", "delayed", "completed"} for each in traces.notes)
        by_cause: dict[str, int] = {}
        for each in traces.outputs:
            by_cause[each.ready] = by_cause.get(each.ready, 0) + 1
        self._indexes = {ready: count + gaps for ready, count in by_cause.items()}
        self._made: dict[tuple[StepKey, int], dict[str, int]] = {}

    def find(self, output: Output) -> tuple[StepKey, int]:
        """Return the step and the index of its output; a step of its own for an id that follows no formula."""
        many = self._indexes[output.ready]
        for key in dict.fromkeys(self._candidates(output)):
            found = self._of(key, many).get(output.event_id)
            if found is not None:
                return key, found
        return (output.handler, output.branch, f"?{output.event_id}"), 0

    def _of(self, key: StepKey, many: int) -> dict[str, int]:
        made = self._made.get((key, many))
        if made is None:
            name, branch, trigger = key
            step, saga_id = f"{self._traces.service}.{name}", self._traces.saga_id
            made = {emitted_id(saga_id, step, branch, trigger, index): index for index in range(many)}
            self._made[key, many] = made
        return made

    def _candidates(self, output: Output) -> Iterator[StepKey]:
        names = [output.handler]
        if guarded := self._traces.guards.get(output.handler):
            names.insert(0, guarded)
        outer = output.branch.rpartition("/")[0]
        branches = [outer, output.branch] if output.branch else [""]
        gathered = _forks(self._traces.branches.get(each, "") for each in output.parents)
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
