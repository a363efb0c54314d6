"""A saga as it is shown.

The whole view of a saga is put together here from what is known about it, as people and programs see it; what that is
(`verdict`), and what it waits for in words (`waiting`), is not. Pure: no I/O, no clock. `reading` asks for the sagas
that it is asked for.
"""

import json
from collections.abc import Iterable

from choreo.tracker.graph import Graph
from choreo.tracker.seen import Noted, Seen, moment
from choreo.tracker.step import Step, Steps
from choreo.tracker.verdict import judge
from choreo.tracker.view import AT_REST, EventView, Flag, NoteView, Reason, SagaStep, SagaView
from choreo.tracker.waiting import waits


def project(
    graph: Graph, saga_id: str, events: Iterable[Seen], notes: Iterable[Noted], now_us: int | None = None
) -> SagaView:
    """Return the whole view of a saga.

    Args:
        graph: The choreography.
        saga_id: The saga that all records belong to.
        events: Its events, in any order, with any duplicates.
        notes: Its notes, likewise.
        now_us: What is overdue is told as of this moment, in microseconds since 1970; not at all without one.
    """
    verdict = judge(graph, saga_id, events, notes)
    summary = verdict.summary
    resting = summary.state in AT_REST
    overdue = now_us is not None and not resting and any(each.past(now_us) for each in verdict.deadlines)
    return SagaView(
        saga_id=saga_id,
        saga_type=summary.saga_type,
        business_key=summary.business_key,
        state=summary.state,
        flags=summary.flags | {Flag.OVERDUE} if overdue else summary.flags,
        waiting_for=[] if resting else waits(graph, verdict),
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
        attempt=row.attempt,
        actor=row.actor,
        command_id=row.command_id,
        at=moment(row.at_us),
    )


def _rows(graph: Graph, steps: Steps) -> list[SagaStep]:
    """Return the steps as a table, each compensation in the row of what it undoes."""
    rows = [step for step in steps.values() if step.node.kind != "compensation" or step.undoes is None]
    rows.sort(
        key=lambda step: (
            step.since_us,
            max((each.hop for each in step.causes), default=0),
            step.results[0].at_us if step.results else 0,
            step.node.key,
            step.branch,
            step.trigger,
        )
    )
    return [_row(graph, step) for step in rows]


def _row(graph: Graph, step: Step) -> SagaStep:
    # Several branches may bring the same type.
    emitted = list(dict.fromkeys(sorted(each.type for each in step.results)))
    undoing = _undoing(step)
    undone = [each.at_us for undo in step.undoings for each in undo.results]
    undone += [undo.settled.at_us for undo in step.undoings if undo.settled is not None]
    whole = not any(each.open for each in step.undoings) and (not step.results or step.undone)
    ended = min((each.at_us for each in step.results), default=step.settled.at_us if step.settled is not None else 0)
    return SagaStep(
        name=step.node.name,
        service=step.node.service,
        branch=step.branch,
        action=", ".join(emitted) if emitted else " | ".join(sorted(step.node.emits)),
        compensation=undoing.node.name if undoing is not None else ", ".join(each.name for each in step.node.undoers),
        status=step.status(graph.failures),
        result=", ".join(emitted) if step.done else None,
        error=_error(graph, step, undoing),
        attempts=step.attempts,
        executed_at=moment(ended) if ended else None,
        compensated_at=moment(max(undone)) if undone and whole else None,
        since=moment(step.since_us) if step.since_us else None,
        trigger=step.trigger,
    )


def _undoing(step: Step) -> Step | None:
    """Return the undoing that a person looks for first."""
    return min(step.undoings, key=lambda each: (not each.parked, not each.open), default=None)


def _error(graph: Graph, step: Step, undoing: Step | None) -> str:
    note: Noted | None
    if undoing is not None and undoing.open and undoing.failed is not None:
        note = undoing.failed
    elif step.results:
        return next((each.reason for each in step.results if each.type in graph.failures), "")
    elif step.settled is not None:
        # Of a step that ran and said nothing, a note may say what is due later.
        note = step.settled if step.settled.kind != "completed" else None
    else:
        note = step.failed
    return (note.error or note.reason) if note is not None else ""
