"""What the records of one saga say about it as a whole.

The states, flags and violations of SEMANTICS 30 and 35 are worked out here, from nothing but a set of records and the
graph: any order, any duplication and any restart give the same answer. Pure: no I/O, no clock. `follower` keeps the
summary of every saga whose records changed; `projection` shows the whole of it to people.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from choreo.saga import SagaState
from choreo.scope import emitter, fork
from choreo.tracker.graph import NOTHING, Graph, SagaType
from choreo.tracker.seen import ENDED, Noted, Seen, fold_events, fold_notes, in_order, parents, place
from choreo.tracker.step import Step, Steps
from choreo.tracker.steps import steps_of
from choreo.tracker.timing import Deadline, running
from choreo.tracker.view import AT_REST, Flag


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
        events: Each once, in the order they are told.
        deadlines: Those that are set; what the time is makes no difference to them.
        missing: What records name and what has not come, in words.
        ended: The saga is over, which is not yet to be at rest: undoings may be owed.
    """

    summary: Summary
    events: list[Seen]
    notes: list[Noted]
    steps: Steps
    deadlines: list[Deadline]
    missing: list[str]
    violations: list[str]
    kind: SagaType | None
    ended: bool


def judge(graph: Graph, saga_id: str, events: Iterable[Seen], notes: Iterable[Noted]) -> Verdict:
    """Return what a set of records says about their saga.

    Args:
        graph: The choreography.
        saga_id: The saga that all records belong to.
        events: Its events, in any order, with any duplicates.
        notes: Its notes, likewise.
    """
    folded = fold_events(events)
    told = in_order(folded)
    noted = fold_notes(notes)
    steps = steps_of(graph, saga_id, told, noted)
    kind = _kind(graph, told, noted)
    missing = [*_missing(graph, folded, told, noted), *_unopened(steps)]
    state = _state(graph, kind, told, noted, steps, unsettled=bool(missing))
    violations = _violations(graph, kind, folded, told)
    ended = _ended(kind, told, noted)
    deadlines = [] if ended else running(graph, told, steps)
    # A deadline will be heard of, and may move what nothing else does. Of an event that was to come later that is not
    # known: nobody notes that it was called off.
    flags = _flags(told, noted, steps, moving=state in AT_REST or bool(missing) or bool(deadlines))
    if violations:
        flags |= {Flag.VIOLATION}
    times = [each.at_us for each in told] + [each.at_us for each in noted]
    starts = [each.at_us for each in told if kind is not None and each.type in kind.starts]
    updated = max(times, default=0)
    summary = Summary(
        saga_id=saga_id,
        saga_type=kind.name if kind is not None else next((each.saga_type for each in told if each.saga_type), ""),
        business_key=next((each.business_key for each in told if each.business_key), ""),
        state=state,
        flags=flags,
        started_us=min(starts or times, default=0),
        updated_us=updated,
        rested_us=updated if state in AT_REST else None,
    )
    return Verdict(summary, told, noted, steps, deadlines, missing, violations, kind, ended)


def summarise(graph: Graph, saga_id: str, events: Iterable[Seen], notes: Iterable[Noted]) -> Summary:
    """Return what is kept of a saga for finding and counting it."""
    return judge(graph, saga_id, events, notes).summary


def _kind(graph: Graph, events: list[Seen], notes: list[Noted]) -> SagaType | None:
    """Return the saga's type: as its start says it, else as any of its records does."""
    for event in events:
        if event.type in graph.started_by and not event.causation_id:
            return graph.started_by[event.type]
    names = [each.saga_type for each in events] + [each.saga_type for each in notes]
    return next((graph.sagas[name] for name in names if name in graph.sagas), None)


def _missing(graph: Graph, folded: dict[str, Seen], events: list[Seen], notes: list[Noted]) -> list[str]:
    """Return what must still come: the tracker reads each topic in order, and no two of them in step."""
    missing = {
        each: f"the cause of {event.type}"
        for event in events
        if emitter(event.source) in graph.nodes
        for each in parents(event)
        if each not in folded
    }
    for note in notes:
        if note.kind == ENDED and note.event_id and note.event_id not in folded:
            missing[note.event_id] = note.event_type or "the event that ended the saga"
    return [f"event {event_id}, {why}" for event_id, why in sorted(missing.items())]


def _unopened(steps: Steps) -> list[str]:
    """Return the branches that must still come: a fan-out opens all of them at once, and its events say how many."""
    missing = []
    for step in steps.values():
        opened = [at for each in step.results if each.branch != step.branch and (at := fork(each.branch)) is not None]
        of = max((at.of for at in opened), default=0)
        if come := of - len({at.path for at in opened}):
            missing.append(f"{come} of the {of} branches that {step.node.service}.{step.node.name} opened")
    return sorted(missing)


def _ended(kind: SagaType | None, events: list[Seen], notes: list[Noted]) -> bool:
    ends = kind.completes | kind.fails if kind is not None else NOTHING
    return any(each.kind == ENDED for each in notes) or any(each.type in ends for each in events)


def _obligations(steps: Steps) -> list[Step]:
    """Return what keeps an aborted saga from resting: undoings owed, and steps whose outcome may have to be undone."""
    return [step for step in steps.values() if step.open and (step.node.kind == "compensation" or step.node.leads)]


def _state(
    graph: Graph,
    kind: SagaType | None,
    events: list[Seen],
    notes: list[Noted],
    steps: Steps,
    *,
    unsettled: bool,
) -> SagaState:
    completing = [each for each in events if kind is not None and each.type in kind.completes]
    failing = [each for each in events if kind is not None and each.type in kind.fails]
    if failing or any(each.type in graph.failures for each in events):
        if unsettled or _obligations(steps):
            return SagaState.COMPENSATING
        if completing and not (failing and _first(failing) < _first(completing)):
            return SagaState.COMPLETED
        declared = kind is None or bool(kind.fails)
        return SagaState.COMPENSATING if declared and not failing else SagaState.FAILED
    if completing and not unsettled:
        return SagaState.COMPLETED
    only = events[0] if len(events) == 1 and not notes else None
    started = only is not None and only.type in graph.started_by and not only.causation_id
    return SagaState.STARTED if started else SagaState.PENDING


def _first(terminals: list[Seen]) -> tuple[int, tuple[str, int, int]]:
    return min((each.at_us, place(each)) for each in terminals)


def _flags(events: list[Seen], notes: list[Noted], steps: Steps, *, moving: bool) -> frozenset[Flag]:
    flags = set()
    if any(step.parked for step in steps.values()):
        flags.add(Flag.PARKED)
        if not moving and not any(step.moves for step in steps.values()):
            flags.add(Flag.STUCK)
    if any(each.differs for each in events) or any(each.kind == "duplicate-differs" for each in notes):
        flags.add(Flag.DIFFERS)
    return frozenset(flags)


def _violations(graph: Graph, kind: SagaType | None, folded: dict[str, Seen], events: list[Seen]) -> list[str]:
    found = [text for event in events if (text := _violation(graph, folded, event))]
    terminals = [each.type for each in events if kind is not None and each.type in kind.completes | kind.fails]
    if len(terminals) > 1:
        found.append(f"{len(terminals)} events end this saga, and one at most may: {', '.join(terminals)}")
    return found


def _violation(graph: Graph, folded: dict[str, Seen], event: Seen) -> str:
    """Return what the graph does not allow about one event, or ""."""
    if event.type not in graph.types:
        return f"{event.type} ({event.event_id}): no manifest declares this type"
    key = emitter(event.source)
    node = graph.nodes.get(key)
    if node is None:
        if event.type in graph.outside and not event.causation_id:
            return ""
        who = event.source or "nobody named"
        return (
            f"{event.type} ({event.event_id}): {who} is no handler of any manifest, and it does not come from outside"
        )
    stands_for = graph.nodes.get((node.service, node.guards)) if node.guards else None
    allowed = node.emits | stands_for.emits if stands_for is not None else node.emits
    if event.type not in allowed:
        return f"{event.type} ({event.event_id}): {node.service}.{node.name} does not declare that it emits this"
    cause = folded.get(event.causation_id)
    step = graph.step_of(*key)
    causes = step.takes if step is not None and step.kind != "compensation" else None
    if causes is not None and cause is not None and cause.type not in causes:
        return f"{event.type} ({event.event_id}): {node.service}.{node.name} does not wait for {cause.type}, its cause"
    return ""
