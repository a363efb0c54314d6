"""What one service did in one saga, step by step, read from its events and notes.

Finding the step behind every event, by the formula of its id, and how far every step came, by its notes, lives here.
The same code reads what is recorded and what today's code does; `difference` compares the two. Pure.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from typing import NamedTuple

from choreo.event import Event, emitted_id, short
from choreo.scope import emitter, fork
from choreo.tracker.rows import EventRow, NoteRow, as_written, fold_notes, parents

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
        seen: What its headers say.
        event: The event; None where today's code does not name its type, or cannot read it.
        masked: Placeholders stand for its sensitive fields.
        problem: Why it cannot be read, or "".
    """

    seen: EventRow
    event: Event | None
    masked: bool = False
    problem: str = ""

    @property
    def ready(self) -> str:
        """The event that made its step ready, "" where it names none."""
        return next(iter(parents(self.seen)), "")


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
        return {index: each.seen.type for index, each in sorted(self.outputs.items())}

    @property
    def emitted(self) -> str:
        """The types of its events, for people."""
        return ", ".join(short(each) for each in self.types.values()) or "nothing"

    @property
    def at_us(self) -> int:
        """When it emitted first, in microseconds since 1970; it must have emitted."""
        return min(each.seen.at_us for each in self.outputs.values())

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


def steps_of(
    outputs: Sequence[StepOutput], notes: Sequence[NoteRow], guards: Mapping[str, str], branches: Mapping[str, str]
) -> dict[StepKey, ReplayedStep]:
    """Return the steps of a service that left a record: first those that emitted, in that order.

    Args:
        outputs: What it emitted in one saga.
        notes: What it noted about that saga.
        guards: `otherwise` handlers, and the handler whose step each ends.
        branches: The branch of every recorded event of the saga, by event id.
    """
    finder = _StepFinder(outputs, notes, guards, branches)
    emitted = [(*finder.find(output), output) for output in outputs]
    steps = {key: ReplayedStep(key) for key, _, _ in emitted}
    for note in as_written(fold_notes(each for each in notes if each.handler and each.kind != REFUSED)):
        key = (note.handler, note.branch, note.trigger)
        steps.setdefault(key, ReplayedStep(key)).apply(note)
    for key, index, output in emitted:
        step = steps[key]
        step.status, step.ready = ReplayStatus.RAN, step.ready or output.ready
        step.outputs.setdefault(index, output)
    return steps


class _StepFinder:
    """Finds the step that emitted an event: the ids of all candidates are computed until one matches."""

    def __init__(
        self,
        outputs: Sequence[StepOutput],
        notes: Sequence[NoteRow],
        guards: Mapping[str, str],
        branches: Mapping[str, str],
    ) -> None:
        self._guards = guards
        self._branches = {each.seen.event_id: each.seen.branch for each in outputs} | dict(branches)
        # What was dropped or is still to come has an index, too.
        gaps = sum(each.kind in {"dropped", "delayed", "completed"} for each in notes)
        self._indexes = {ready: count + gaps for ready, count in Counter(each.ready for each in outputs).items()}
        self._ids: dict[tuple[StepKey, int], dict[str, int]] = {}

    def find(self, output: StepOutput) -> tuple[StepKey, int]:
        """Return the step and the index of its output; a step of its own for an id that matches no candidate."""
        seen, many = output.seen, self._indexes[output.ready]
        service, handler = emitter(seen.source)
        for key in dict.fromkeys(self._candidates(handler, seen)):
            if (key, many) not in self._ids:
                name, branch, trigger = key
                ids = (emitted_id(seen.saga_id, f"{service}.{name}", branch, trigger, index) for index in range(many))
                self._ids[key, many] = {each: index for index, each in enumerate(ids)}
            index = self._ids[key, many].get(seen.event_id)
            if index is not None:
                return key, index
        return (handler, seen.branch, f"?{seen.event_id}"), 0

    def _candidates(self, handler: str, seen: EventRow) -> Iterator[StepKey]:
        names = [guarded, handler] if (guarded := self._guards.get(handler)) else [handler]
        branches = [seen.branch.rpartition("/")[0], seen.branch] if seen.branch else [""]
        causes = parents(seen)
        forks = (fork(self._branches.get(each, "")) for each in causes)
        # What gathers the branches of a fan-out has its key for a trigger.
        gathered = (found.key for found in forks if found is not None)
        for trigger, branch, name in product((seen.compensates_id, *causes[:1], "", *gathered), branches, names):
            yield name, branch, trigger
