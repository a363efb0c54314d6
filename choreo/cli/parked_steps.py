"""Steps that wait for a person, and the commands that retry or resolve them.

Finding such steps through the tracker, what each may be resolved with and the command live here; printing and
sending do not. `parked` calls this.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from choreo.cli.confirmation import Confirmation
from choreo.cli.output import progress
from choreo.cli.tracker_store import each_saga
from choreo.event import uuid7
from choreo.manifest import Manifest
from choreo.records import NOTE_KINDS, Command
from choreo.tracker import NoteView, SagaStep, SagaView, Tracker

_PARKED = "parked"
# Of these notes about a step the last one says whether it is parked.
_STATUS_NOTES = frozenset({_PARKED, "retried", "resumed", "resolved", "skipped", "completed"})
_REPAIRS = frozenset(name for name, kind in NOTE_KINDS.items() if kind.by_person)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedStep:
    """One step that waits for a person, since it was parked.

    Attributes:
        branch: Branch it runs in, "" at the root.
        trigger: What it runs for; "" for a join.
        event_type: Type of the event that made it ready.
        attempts: Attempts that failed before that; 0 where it is not known.
        error: The last error, whole.
    """

    saga_id: str
    saga_type: str
    business_key: str
    service: str
    handler: str
    branch: str
    trigger: str
    event_type: str
    since: datetime
    attempts: int
    error: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes it this step of its saga."""
        return self.service, self.handler, self.branch, self.trigger

    @property
    def name(self) -> str:
        """Service and handler, and the branch where there is one."""
        return f"{self.service}.{self.handler}" + (f" in branch {self.branch}" if self.branch else "")

    @property
    def first_line(self) -> str:
        """The first line of the error."""
        return self.error.strip().partition("\n")[0]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON's own types."""
        return asdict(self) | {"since": self.since.isoformat()}


@dataclass(frozen=True, slots=True)
class StepFilter:
    """Which parked steps to choose; None stands for any, and the trigger "" for that of a join."""

    service: str | None = None
    handler: str | None = None
    branch: str | None = None
    trigger: str | None = None

    def __contains__(self, step: ParkedStep) -> bool:
        """Return whether a step is one of them."""
        wanted = (self.service, self.handler, self.branch, self.trigger)
        return all(each in {None, own} for each, own in zip(wanted, step.key, strict=True))


def parked_steps(view: SagaView) -> list[ParkedStep]:
    """Return the steps of a saga that wait for a person, the one that has waited longest first."""
    last: dict[tuple[str, str, str, str], NoteView] = {}
    for note in view.notes:
        if note.handler and note.kind in _STATUS_NOTES:
            key = _key(note)
            # Without transactions a step may be noted as parked again, in fewer words; the first note counts.
            if key not in last or {last[key].kind, note.kind} != {_PARKED}:
                last[key] = note
    return [
        ParkedStep(
            saga_id=view.saga_id,
            saga_type=view.saga_type,
            business_key=view.business_key,
            service=note.service,
            handler=note.handler,
            branch=note.branch,
            trigger=note.trigger,
            event_type=note.event_type,
            since=note.at,
            attempts=note.attempt,
            error=note.error or note.reason,
        )
        for note in sorted(last.values(), key=lambda each: each.at)
        if note.kind == _PARKED and _waits(view, note)
    ]


def _waits(view: SagaView, note: NoteView) -> bool:
    """Return whether the tracker still has a step parked: clocks of services differ, and its events count more."""
    for step in view.steps:
        if _key(step) == _key(note):
            return step.status == _PARKED and step.result is None
    # A compensation is part of the row of the step that it undoes.
    source = f"/{note.service}/{note.handler}"
    return any(
        step.service == note.service and step.compensation == note.handler and step.status == _PARKED
        for step in view.steps
    ) and not any(event.source == source and event.compensates_id == note.trigger for event in view.events)


def _key(of: SagaStep | NoteView) -> tuple[str, str, str, str]:
    return of.service, of.handler if isinstance(of, NoteView) else of.name, of.branch, of.trigger


def all_parked(tracker: Tracker, saga_type: str | None, which: StepFilter) -> list[ParkedStep]:
    """Return the chosen steps of all sagas, or of those of one type, saga by saga, the newest saga first."""
    steps: list[ParkedStep] = []
    total = None if saga_type else next((count for flag, count in tracker.flag_counts().items() if flag == _PARKED), 0)
    with progress("looking", total) as advance:
        for view in each_saga(tracker, type=saga_type, flag=_PARKED):
            steps += [step for step in parked_steps(view) if step in which]
            advance(1)
    return steps


def history(view: SagaView) -> list[NoteView]:
    """Return when steps of a saga were parked, what people asked for and what came of it, by time."""
    return [note for note in view.notes if note.kind in _REPAIRS or note.kind == _PARKED]


def may_emit(step: ParkedStep, view: SagaView, manifests: Sequence[Manifest]) -> list[str] | None:
    """Return the event types that a step may be resolved with, as announced last; None where they are not known."""
    own = [each for each in manifests if each.service == step.service]
    for manifest in own[-1:]:
        handlers = [each for each in manifest.handlers if step.handler in {each.name, each.guards}]
        if any(each.name == step.handler for each in handlers):
            return sorted({name for each in handlers for name in each.emits})
    # Where no manifest says it, the tracker's row may.
    return next((row.action.split(" | ") for row in view.steps if _key(row) == step.key and row.action), None)


def command_for(verb: str, step: ParkedStep, confirmation: Confirmation, **more: Any) -> Command:
    """Return the command to retry or resolve a step; `more` are the fields of a resolve, which pydantic checks."""
    return Command.model_validate(
        {
            "command_id": uuid7(),
            "command": verb,
            "saga_id": step.saga_id,
            "service": step.service,
            "handler": step.handler,
            "branch": step.branch,
            "trigger": step.trigger,
            "actor": confirmation.actor,
            "reason": confirmation.reason,
            "at": datetime.now(UTC),
        }
        | more
    )
