"""What the records of one saga say about it.

The states, flags, reasons and violations of SEMANTICS 30 and 35 are worked out here, from nothing but a set of
records and the graph: any order, any duplication and any restart give the same answer. Pure: no I/O, no clock.
`follower` keeps the summary of every saga whose records changed, and `reading` makes the whole view of those that
are asked for.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from choreo.saga import SagaState
from choreo.tracker.graph import Graph, SagaType, emitter
from choreo.tracker.seen import ENDED, Noted, Seen, fold_events, fold_notes, in_order, parents, place
from choreo.tracker.steps import Key, Step, steps_of
from choreo.tracker.view import AT_REST, EventView, Flag, NoteView, Reason, SagaStep, SagaView

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WAITS_MAX = 20
"""Most items of `waiting_for`; a saga of very many branches is not told to the last one."""


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
        missing: Ids that records name and that have not come, with who names them.
    """

    summary: Summary
    events: list[Seen]
    notes: list[Noted]
    steps: dict[Key, Step]
    missing: list[tuple[str, str]]
    violations: list[str]
    kind: SagaType | None


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
    missing = _missing(graph, folded, told, noted)
    state = _state(graph, kind, told, noted, steps, unsettled=bool(missing))
    violations = _violations(graph, kind, folded, told)
    flags = _flags(told, noted, steps, moving=state in AT_REST or bool(missing))
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
    return Verdict(summary, told, noted, steps, missing, violations, kind)


def summarise(graph: Graph, saga_id: str, events: Iterable[Seen], notes: Iterable[Noted]) -> Summary:
    """Return what is kept of a saga for finding and counting it."""
    return judge(graph, saga_id, events, notes).summary


def project(graph: Graph, saga_id: str, events: Iterable[Seen], notes: Iterable[Noted]) -> SagaView:
    """Return the whole view of a saga.

    Args:
        graph: The choreography.
        saga_id: The saga that all records belong to.
        events: Its events, in any order, with any duplicates.
        notes: Its notes, likewise.
    """
    verdict = judge(graph, saga_id, events, notes)
    summary = verdict.summary
    return SagaView(
        saga_id=saga_id,
        saga_type=summary.saga_type,
        business_key=summary.business_key,
        state=summary.state,
        flags=summary.flags,
        waiting_for=_waits(graph, verdict) if summary.state not in AT_REST else [],
        steps=_rows(graph, verdict.steps),
        events=[shown(each) for each in verdict.events],
        notes=[_noted(each) for each in verdict.notes],
        reasons=[
            Reason(each.type, each.reason, moment(each.at_us)) for each in verdict.events if each.type in graph.failures
        ],
        violations=verdict.violations,
        started_at=moment(summary.started_us),
        updated_at=moment(summary.updated_us),
    )


def moment(at_us: int) -> datetime:
    """Return the time that the store keeps as a number."""
    return _EPOCH + timedelta(microseconds=at_us)


def shown(row: Seen) -> EventView:
    """Return an event as it is shown."""
    return EventView(
        saga_id=row.saga_id,
        event_id=row.event_id,
        type=row.type,
        topic=row.topic,
        partition=row.partition,
        offset=row.offset,
        source=row.source,
        causation_id=row.causation_id,
        causes=tuple(row.causes.split(",")) if row.causes else (),
        compensates_id=row.compensates_id,
        branch=row.branch,
        hop=row.hop,
        at=moment(row.at_us),
        payload=json.loads(row.payload) if row.payload is not None else None,
        fingerprint=row.fingerprint,
        traceparent=row.traceparent,
        saga_type=row.saga_type,
        business_key=row.business_key,
    )


def _noted(row: Noted) -> NoteView:
    return NoteView(
        kind=row.kind,
        service=row.service,
        handler=row.handler,
        branch=row.branch,
        trigger=row.trigger,
        reason=row.reason,
        error=row.error,
        event_type=row.event_type,
        event_id=row.event_id,
        at=moment(row.at_us),
    )


def _kind(graph: Graph, events: list[Seen], notes: list[Noted]) -> SagaType | None:
    """Return the saga's type: as its start says it, else as any of its records does."""
    for event in events:
        if event.type in graph.started_by and not event.causation_id:
            return graph.started_by[event.type]
    names = [each.saga_type for each in events] + [each.saga_type for each in notes]
    return next((graph.sagas[name] for name in names if name in graph.sagas), None)


def _missing(graph: Graph, folded: dict[str, Seen], events: list[Seen], notes: list[Noted]) -> list[tuple[str, str]]:
    """Return ids that must still come: the tracker reads each topic in order, and no two of them in step."""
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
    return sorted(missing.items())


def _obligations(steps: dict[Key, Step]) -> list[Step]:
    """Return what keeps an aborted saga from resting: undoings owed, and steps whose outcome may have to be undone."""
    return [step for step in steps.values() if step.open and (step.node.kind == "compensation" or step.node.leads)]


def _state(
    graph: Graph,
    kind: SagaType | None,
    events: list[Seen],
    notes: list[Noted],
    steps: dict[Key, Step],
    *,
    unsettled: bool,
) -> SagaState:
    completing = [each for each in events if kind is not None and each.type in kind.completes]
    failing = [each for each in events if kind is not None and each.type in kind.fails]
    if failing or any(each.type in graph.failures for each in events):
        if unsettled or _obligations(steps):
            return SagaState.COMPENSATING
        if completing and not (failing and _ended(failing) < _ended(completing)):
            return SagaState.COMPLETED
        declared = kind is None or bool(kind.fails)
        return SagaState.COMPENSATING if declared and not failing else SagaState.FAILED
    if completing and not unsettled:
        return SagaState.COMPLETED
    only = events[0] if len(events) == 1 and not notes else None
    started = only is not None and only.type in graph.started_by and not only.causation_id
    return SagaState.STARTED if started else SagaState.PENDING


def _ended(terminals: list[Seen]) -> tuple[int, tuple[str, int, int]]:
    return min((each.at_us, place(each)) for each in terminals)


def _flags(events: list[Seen], notes: list[Noted], steps: dict[Key, Step], *, moving: bool) -> frozenset[Flag]:
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
    if node.kind == "forward" and cause is not None and cause.type not in node.takes:
        return f"{event.type} ({event.event_id}): {node.service}.{node.name} does not wait for {cause.type}, its cause"
    return ""


def _waits(graph: Graph, verdict: Verdict) -> list[str]:
    """Say what must come for the saga to move, from whom, since when."""
    waits: list[tuple[int, str]] = []
    awaited: set[str] = set()
    for step in verdict.steps.values():
        node, since = step.node, step.since_us
        name = f"{node.service}.{node.name}"
        if step.parked:
            waits.append(
                (since, f"a person to retry or resolve {name}, parked{_since(step.held.at_us if step.held else since)}")
            )
        elif step.open:
            awaited |= node.emits
            wanted = " | ".join(sorted(node.emits)) or "an end"
            waits.append((since, f"{wanted} from {node.service} ({node.name}){_since(since)}"))
    for event_id, why in verdict.missing:
        waits.append((0, f"event {event_id}, {why}, which the tracker has not read"))
    kind = verdict.kind
    aborted = verdict.summary.state is SagaState.COMPENSATING
    for step in verdict.steps.values():
        if step.ready or aborted or step.results or step.settled is not None:
            continue
        come = {each.type for each in step.causes}
        for types in step.node.waits_for:
            if not types & come and not types & awaited:
                who = " or ".join(sorted({graph.origin(each) for each in types}))
                waits.append((step.since_us, f"{' | '.join(sorted(types))} from {who}{_since(step.since_us)}"))
    if not waits and kind is not None:
        ends = kind.fails if aborted else kind.completes
        waits.append((0, f"{' | '.join(sorted(ends))} from {kind.owner}{_since(verdict.summary.updated_us)}"))
    return list(dict.fromkeys(text for _, text in sorted(waits)))[:WAITS_MAX]


def _since(at_us: int) -> str:
    return f", since {moment(at_us).isoformat(timespec='seconds').replace('+00:00', 'Z')}" if at_us else ""


def _rows(graph: Graph, steps: dict[Key, Step]) -> list[SagaStep]:
    """Return the steps as a table, each compensation in the row of what it undoes."""
    rows = [step for step in steps.values() if step.node.kind != "compensation" or step.undoes is None]
    rows.sort(
        key=lambda step: (
            step.since_us,
            step.results[0].at_us if step.results else 0,
            step.node.key,
            step.branch,
            step.trigger,
        )
    )
    return [_row(graph, step) for step in rows]


def _row(graph: Graph, step: Step) -> SagaStep:
    emitted = sorted(each.type for each in step.results)
    undoing = next((each for each in step.undoings if each.parked), step.undoings[0] if step.undoings else None)
    undone = [each.at_us for undo in step.undoings for each in undo.results]
    undone += [undo.settled.at_us for undo in step.undoings if undo.settled is not None]
    note = step.settled
    error = next((each.reason for each in step.results if each.type in graph.failures), "")
    if not step.results:
        error = (
            (note.error or note.reason)
            if note is not None
            else step.held.error or step.held.reason
            if step.held
            else ""
        )
    if undoing is not None and undoing.open and undoing.held is not None:
        error = undoing.held.error or undoing.held.reason
    ended = min((each.at_us for each in step.results), default=note.at_us if note is not None else 0)
    done = bool(step.results) or (note is not None and note.kind == "completed")
    return SagaStep(
        name=step.node.name,
        service=step.node.service,
        branch=step.branch,
        action=", ".join(emitted) if emitted else " | ".join(sorted(step.node.emits)),
        compensation=undoing.node.name if undoing is not None else ", ".join(each.name for each in step.node.undoers),
        status=step.status(graph.failures),
        result=", ".join(emitted) if done else None,
        error=error,
        attempts=step.attempts + done,
        executed_at=moment(ended) if ended else None,
        compensated_at=moment(max(undone)) if undone and not any(each.open for each in step.undoings) else None,
        since=moment(step.since_us) if step.since_us else None,
        trigger=step.trigger,
    )
