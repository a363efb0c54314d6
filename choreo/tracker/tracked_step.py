"""One step of a saga, as its records tell.

What is known of a step, and the questions that can be answered from that alone, live here; finding the steps does not
(`saga_steps`). `verdict`, `explanation` and `projection` ask.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from choreo.choreography import Node
from choreo.records import NOTE_KINDS
from choreo.tracker.rows import EventRow, NoteRow
from choreo.tracker.views import StepStatus

StepKey = tuple[str, str, str, str]
"""Service, handler, branch, trigger."""


@dataclass(slots=True, eq=False)
class TrackedStep:
    """One step, forward or compensating."""

    node: Node
    branch: str
    trigger: str
    causes: list[EventRow] = field(default_factory=list)  # Events that it answers, as far as they have come.
    ready: bool = False  # All its causes have come.
    gathered: tuple[int, int] = (0, 0)  # Of a fan-in: how many branches have brought something, of how many.
    results: list[EventRow] = field(default_factory=list)  # Events it emitted.
    given_up: list[EventRow] = field(default_factory=list)  # Those among them that its `otherwise` emitted.
    settled: NoteRow | None = None  # The note that says how it ended without an event.
    # The last note that says it is retried, parked, resumed, or resolved with an event that is still to come.
    held: NoteRow | None = None
    failed: NoteRow | None = None  # The last note that says what an attempt raised.
    attempt: int = 0  # Failed attempts since a person last had it tried anew, as far as they are known of.
    earlier: int = 0  # Failed attempts before that.
    # For a compensation: the forward step that it undoes, None where its original came from outside.
    undoes: "TrackedStep | None" = None
    compensations: list["TrackedStep"] = field(default_factory=list)  # For a forward step: its compensations.

    def answer(self, *causes: EventRow) -> None:
        """Take note of all its causes."""
        self.causes, self.ready = [*causes], True

    @property
    def key(self) -> StepKey:
        """Return what identifies it within its saga."""
        return *self.node.key, self.branch, self.trigger

    @property
    def open(self) -> bool:
        """Whether it is ready and nothing has come of it."""
        return self.ready and not self.results and self.settled is None

    @property
    def parked(self) -> bool:
        """Whether it waits for a person."""
        return self.held is not None and self.held.kind == "parked" and not self.results and self.settled is None

    @property
    def moves(self) -> bool:
        """Whether something will come of it without a person."""
        return self.open and not self.parked

    @property
    def resolved(self) -> bool:
        """Whether a person took it as done."""
        return any(each is not None and each.kind == "resolved" for each in (self.settled, self.held))

    @property
    def done(self) -> bool:
        """Whether it has a result, an event or none."""
        return bool(self.results) or (self.settled is not None and NOTE_KINDS[self.settled.kind].settles == "completed")

    @property
    def unknown(self) -> bool:
        """Whether a compensation runs with `None` for it: it was skipped, or its `otherwise` ended it so (rule 16)."""
        if self.settled is not None and self.settled.kind == "skipped" and not self.results:
            return True
        emitted = {each.type for each in self.given_up}
        return any(
            undoer.handler.original_optional and not emitted.isdisjoint(undoer.causes) for undoer in self.node.undoers
        )

    @property
    def undone(self) -> bool:
        """Whether nothing is left of what it did, once its compensations have ended."""
        emitted = {each.event_id for each in self.results}
        triggers = {each.trigger for each in self.compensations}
        if not triggers <= emitted:
            return True  # It was undone as a whole, without an original.
        originals = {name for undoer in self.node.undoers for name in undoer.original}
        return all(each.event_id in triggers for each in self.results if each.type in originals)

    @property
    def attempts(self) -> int:
        """How often it was tried, as far as that is known; what a person or its `otherwise` did is no attempt."""
        return self.earlier + self.attempt + (self.done and not self.given_up and not self.resolved)

    @property
    def since_us(self) -> int:
        """When it became ready or, before that, when its first cause came."""
        times = [each.at_us for each in self.causes]
        if not times:
            notes = [note.at_us for note in (self.settled, self.held) if note is not None]
            return min([*(each.at_us for each in self.results), *notes], default=0)
        return max(times) if self.ready else min(times)

    def status(self, failures: Iterable[str]) -> StepStatus:
        """Return how far this step and its compensations have come."""
        if any(each.parked for each in self.compensations):
            return StepStatus.PARKED
        if any(each.open for each in self.compensations):
            return StepStatus.COMPENSATING
        if self.compensations and self.results and self.undone:
            return StepStatus.COMPENSATED
        if self.results:
            return StepStatus.FAILED if any(each.type in failures for each in self.results) else StepStatus.COMPLETED
        if self.settled is not None:
            return StepStatus(NOTE_KINDS[self.settled.kind].settles)
        if self.held is not None:
            return StepStatus.PARKED if self.parked else StepStatus.RETRYING
        return StepStatus.EXECUTING if self.ready else StepStatus.PENDING
