"""A saga, as it is shown.

The view of a saga, as people and programs see it, is put together here from the verdict on its records; the verdict
itself (`verdict`), and what the saga waits for in words (`explanation`), are not. Pure: no I/O, no clock. `client`
calls it for each saga asked for.
"""

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from choreo.choreography import Choreography
from choreo.tracker.explanation import waiting_for
from choreo.tracker.rows import EventRow, NoteRow, moment
from choreo.tracker.saga_steps import Steps
from choreo.tracker.tracked_step import TrackedStep
from choreo.tracker.verdict import Verdict
from choreo.tracker.views import AT_REST, EventView, Flag, NoteView, Reason, SagaStep, SagaView


def project(
    graph: Choreography, saga_id: str, events: Iterable[EventRow], notes: Iterable[NoteRow], now_us: int | None = None
) -> SagaView:
    """Return the whole view of a saga.

    Args:
        graph: The choreography.
        saga_id: The saga that all records belong to.
        events: Its events, in any order, with any duplicates.
        notes: Its notes, likewise.
        now_us: The time by which a deadline is overdue, in microseconds since 1970; without it, none is.
    """
    verdict = Verdict(graph, saga_id, events, notes)
    resting = verdict.state in AT_REST
    overdue = now_us is not None and not resting and any(each.past(now_us) for each in verdict.deadlines)
    return SagaView(
        saga_id=saga_id,
        saga_type=verdict.saga_type,
        business_key=verdict.business_key,
        state=verdict.state,
        flags=verdict.flags | {Flag.OVERDUE} if overdue else verdict.flags,
        waiting_for=[] if resting else waiting_for(graph, verdict),
        steps=_rows(graph, verdict.steps),
        events=[shown(each) for each in verdict.events],
        notes=[NoteView(**_common(NoteView, each), at=moment(each.at_us)) for each in verdict.notes],
        reasons=[
            Reason(each.type, each.reason, moment(each.at_us)) for each in verdict.events if each.type in graph.failures
        ],
        violations=verdict.violations,
        started_at=moment(verdict.started_us),
        updated_at=moment(verdict.updated_us),
    )


def shown(row: EventRow) -> EventView:
    """Return an event as it is shown."""
    return EventView(
        **_common(EventView, row),
        causes=tuple(row.causes.split(",")) if row.causes else (),
        at=moment(row.at_us),
        payload=json.loads(row.payload) if row.payload is not None else None,
    )


def _common(view: type[EventView | NoteView], row: EventRow | NoteRow) -> dict[str, Any]:
    """Return the fields that a view takes from a row as they are."""
    return {each.name: getattr(row, each.name) for each in fields(view) if each.name not in {"at", "causes", "payload"}}


def _rows(graph: Choreography, steps: Steps) -> list[SagaStep]:
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


def _row(graph: Choreography, step: TrackedStep) -> SagaStep:
    # Several branches may bring the same type.
    emitted = list(dict.fromkeys(sorted(each.type for each in step.results)))
    compensation = _shown_compensation(step)
    undone_us = [result.at_us for each in step.compensations for result in each.results]
    undone_us += [each.settled.at_us for each in step.compensations if each.settled is not None]
    whole = not any(each.open for each in step.compensations) and (not step.results or step.undone)
    ended_us = min((each.at_us for each in step.results), default=step.settled.at_us if step.settled is not None else 0)
    undoers = (compensation.node,) if compensation is not None else step.node.undoers
    return SagaStep(
        name=step.node.handler.name,
        service=step.node.service,
        branch=step.branch,
        action=", ".join(emitted) if emitted else " | ".join(sorted(step.node.emits)),
        compensation=", ".join(node.handler.name for node in undoers),
        status=step.status(graph.failures),
        result=", ".join(emitted) if step.done else None,
        error=_error(graph, step, compensation),
        attempts=step.attempts,
        executed_at=moment(ended_us) if ended_us else None,
        compensated_at=moment(max(undone_us)) if undone_us and whole else None,
        since=moment(step.since_us) if step.since_us else None,
        trigger=step.trigger,
    )


def _shown_compensation(step: TrackedStep) -> TrackedStep | None:
    """Return the compensation that a person looks for first: a parked one, then an open one."""
    return min(step.compensations, key=lambda each: (not each.parked, not each.open), default=None)


def _error(graph: Choreography, step: TrackedStep, compensation: TrackedStep | None) -> str:
    note: NoteRow | None
    if compensation is not None and compensation.open and compensation.failed is not None:
        note = compensation.failed
    elif step.results:
        return next((each.reason for each in step.results if each.type in graph.failures), "")
    elif step.settled is not None:
        # The note of a step that ran without an event may name an event that comes later: that is no error.
        note = step.settled if step.settled.kind != "completed" else None
    else:
        note = step.failed
    return (note.error or note.reason) if note is not None else ""
