"""What the records of one saga say about it as a whole.

The states, flags and violations of SEMANTICS 30 and 35 are worked out here, from nothing but a set of records and the
graph: any order, any duplication and any restart give the same answer. Pure: no I/O, no clock. `follower` keeps the
summary of every saga whose records changed; `projection` shows the whole of it to people.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from choreo.choreography import NOTHING, Choreography, SagaType
from choreo.saga import SagaState
from choreo.scope import emitter, fork
from choreo.tracker.rows import ENDED, EventRow, NoteRow, fold_events, fold_notes, in_order, parents, place
from choreo.tracker.saga_steps import SetDeadline, Steps, set_deadlines, steps_of
from choreo.tracker.tracked_step import TrackedStep
from choreo.tracker.views import AT_REST, Flag


class Summary(NamedTuple):
    """What is kept of a saga for finding and counting it; times in microseconds since 1970, UTC."""

    saga_id: str
    saga_type: str
    business_key: str
    state: SagaState
    flags: frozenset[Flag]
    started_us: int
    updated_us: int
    rested_us: int | None


@dataclass(slots=True)
class Verdict:
    """All that was worked out about a saga.

    Attributes:
        events: Each once, causes before effects.
        deadlines: Those that are set, whatever the time is.
        missing: What records name and what has not come, in words.
        ended: The saga is over. It may not be at rest yet: compensations may still have to run.
    """

    summary: Summary
    events: list[EventRow]
    notes: list[NoteRow]
    steps: Steps
    deadlines: list[SetDeadline]
    missing: list[str]
    violations: list[str]
    kind: SagaType | None
    ended: bool


def judge(graph: Choreography, saga_id: str, events: Iterable[EventRow], notes: Iterable[NoteRow]) -> Verdict:
    """Return what a set of records says about their saga.

    Args:
        graph: The choreography.
        saga_id: The saga that all records belong to.
        events: Its events, in any order, with any duplicates.
        notes: Its notes, likewise.
    """
    folded = fold_events(events)
    ordered = in_order(folded)
    journal = fold_notes(notes)
    steps = steps_of(graph, saga_id, ordered, journal)
    kind = _kind(graph, ordered, journal)
    missing = [*_missing(graph, folded, ordered, journal), *_unopened(steps)]
    state = _state(graph, kind, ordered, journal, steps, unsettled=bool(missing))
    violations = _violations(graph, kind, folded, ordered)
    ended = _ended(kind, ordered, journal)
    deadlines = [] if ended else set_deadlines(graph, ordered, steps)
    # A deadline that fires may move what nothing else does. A delayed event does not count: that it was called off is
    # noted nowhere, so it may never come.
    flags = _flags(ordered, journal, steps, moving=state in AT_REST or bool(missing) or bool(deadlines))
    if violations:
        flags |= {Flag.VIOLATION}
    times = [each.at_us for each in ordered] + [each.at_us for each in journal]
    starts = [each.at_us for each in ordered if kind is not None and each.type == kind.starts]
    updated = max(times, default=0)
    summary = Summary(
        saga_id=saga_id,
        saga_type=kind.name if kind is not None else next((each.saga_type for each in ordered if each.saga_type), ""),
        business_key=next((each.business_key for each in ordered if each.business_key), ""),
        state=state,
        flags=flags,
        started_us=min(starts or times, default=0),
        updated_us=updated,
        rested_us=updated if state in AT_REST else None,
    )
    return Verdict(summary, ordered, journal, steps, deadlines, missing, violations, kind, ended)


def _kind(graph: Choreography, events: list[EventRow], notes: list[NoteRow]) -> SagaType | None:
    """Return the saga's type: its start says it, or else any of its records."""
    for event in events:
        if not event.causation_id and (started := graph.started_by(event.type)) is not None:
            return started
    names = [each.saga_type for each in events] + [each.saga_type for each in notes]
    return next((graph.sagas[name] for name in names if name in graph.sagas), None)


def _missing(
    graph: Choreography, folded: dict[str, EventRow], events: list[EventRow], notes: list[NoteRow]
) -> list[str]:
    """Return what has been named and must still come: the order of records is known within a topic, not between two."""
    missing = {
        each: f"the cause of {event.type}"
        for event in events
        if graph.node(*emitter(event.source)) is not None
        for each in parents(event)
        if each not in folded
    }
    for note in notes:
        if note.kind == ENDED and note.event_id and note.event_id not in folded:
            missing[note.event_id] = note.event_type or "the event that ended the saga"
    return [f"event {event_id}, {why}" for event_id, why in sorted(missing.items())]


def _unopened(steps: Steps) -> list[str]:
    """Return the branches that must still come: a fan-out opens all at once, and each of its events says how many."""
    missing = []
    for step in steps.values():
        opened = [at for each in step.results if each.branch != step.branch and (at := fork(each.branch)) is not None]
        of = max((at.of for at in opened), default=0)
        if left := of - len({at.path for at in opened}):
            missing.append(f"{left} of the {of} branches that {step.name} opened")
    return sorted(missing)


def _ended(kind: SagaType | None, events: list[EventRow], notes: list[NoteRow]) -> bool:
    ends = kind.completes | kind.fails if kind is not None else NOTHING
    return any(each.kind == ENDED for each in notes) or any(each.type in ends for each in events)


def _obligations(steps: Steps) -> list[TrackedStep]:
    """Return the open steps that keep an aborted saga from resting: compensations, and what may have to be undone."""
    return [step for step in steps.values() if step.open and (step.node.kind == "compensation" or step.node.leads)]


def _state(
    graph: Choreography,
    kind: SagaType | None,
    events: list[EventRow],
    notes: list[NoteRow],
    steps: Steps,
    *,
    unsettled: bool,
) -> SagaState:
    completing = [each for each in events if kind is not None and each.type in kind.completes]
    failing = [each for each in events if kind is not None and each.type in kind.fails]
    if failing or any(each.type in graph.failures for each in events):
        if unsettled or _obligations(steps):
            return SagaState.COMPENSATING
        if completing and not (failing and _earliest(failing) < _earliest(completing)):
            return SagaState.COMPLETED
        declared = kind is None or bool(kind.fails)
        return SagaState.COMPENSATING if declared and not failing else SagaState.FAILED
    if completing and not unsettled:
        return SagaState.COMPLETED
    only = events[0] if len(events) == 1 and not notes else None
    started = only is not None and graph.started_by(only.type) is not None and not only.causation_id
    return SagaState.STARTED if started else SagaState.PENDING


def _earliest(terminals: list[EventRow]) -> tuple[int, tuple[str, int, int]]:
    return min((each.at_us, place(each)) for each in terminals)


def _flags(events: list[EventRow], notes: list[NoteRow], steps: Steps, *, moving: bool) -> frozenset[Flag]:
    flags = set()
    if any(step.parked for step in steps.values()):
        flags.add(Flag.PARKED)
        if not moving and not any(step.moves for step in steps.values()):
            flags.add(Flag.STUCK)
    if any(each.differs for each in events) or any(each.kind == "duplicate-differs" for each in notes):
        flags.add(Flag.DIFFERS)
    return frozenset(flags)


def _violations(
    graph: Choreography, kind: SagaType | None, folded: dict[str, EventRow], events: list[EventRow]
) -> list[str]:
    violations = [text for event in events if (text := _violation(graph, folded, event))]
    terminals = [each.type for each in events if kind is not None and each.type in kind.completes | kind.fails]
    if len(terminals) > 1:
        violations.append(f"{len(terminals)} events end this saga, and one at most may: {', '.join(terminals)}")
    return violations


def _violation(graph: Choreography, folded: dict[str, EventRow], event: EventRow) -> str:
    """Return what the graph does not allow about one event, or ""."""
    if event.type not in graph.events:
        return f"{event.type} ({event.event_id}): no manifest declares this type"
    key = emitter(event.source)
    node = graph.node(*key)
    if node is None:
        if event.type in graph.outside and not event.causation_id:
            return ""
        who = event.source or "nobody named"
        return (
            f"{event.type} ({event.event_id}): {who} is no handler of any manifest, and it does not come from outside"
        )
    stands_for = graph.node(node.service, node.handler.guards) if node.handler.guards else None
    allowed = node.emits | stands_for.emits if stands_for is not None else node.emits
    if event.type not in allowed:
        return f"{event.type} ({event.event_id}): {node.name} does not declare that it emits this"
    cause = folded.get(event.causation_id)
    step = graph.step_of(*key)
    causes = step.waited_for if step is not None and step.kind != "compensation" else None
    if causes is not None and cause is not None and cause.type not in causes:
        return f"{event.type} ({event.event_id}): {node.name} does not wait for {cause.type}, its cause"
    return ""
