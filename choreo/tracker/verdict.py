"""What the records of one saga say about it as a whole.

The states, flags and violations of SEMANTICS 30 and 35 are worked out here, from nothing but a set of records and the
graph: any order, any duplication and any restart give the same answer. Pure: no I/O, no clock. `follower` keeps the
summary of every saga whose records changed; `projection` shows the whole of it to people.
"""

from collections.abc import Iterable

from choreo.choreography import NOTHING, Choreography, SagaType
from choreo.saga import SagaState
from choreo.scope import emitter, fork
from choreo.tracker.rows import ENDED, EventRow, NoteRow, fold_events, fold_notes, in_order, parents, place
from choreo.tracker.saga_steps import SagaSteps
from choreo.tracker.tracked_step import TrackedStep
from choreo.tracker.views import AT_REST, Flag


class Verdict:
    """What a set of records says about their saga.

    Args:
        graph: The choreography.
        saga_id: The saga that all records belong to.
        events: Its events, in any order, with any duplicates.
        notes: Its notes, likewise.
    """

    def __init__(self, graph: Choreography, saga_id: str, events: Iterable[EventRow], notes: Iterable[NoteRow]) -> None:
        self._graph = graph
        self.saga_id = saga_id
        self._by_id = fold_events(events)
        self.events = in_order(self._by_id)  # Each once, causes before effects.
        self.notes = fold_notes(notes)  # Each once, by time.
        self.kind = self._kind()  # The saga's type; None where no record and no manifest says it.
        self._completes, self._fails = (self.kind.completes, self.kind.fails) if self.kind else (NOTHING, NOTHING)
        named = (each.saga_type for each in self.events if each.saga_type)
        self.saga_type = self.kind.name if self.kind is not None else next(named, "")
        self.business_key = next((each.business_key for each in self.events if each.business_key), "")
        found = SagaSteps(graph, saga_id, self.events, self.notes)
        self.steps = found.steps  # All that are known of.
        # What records name and what has not come, and what the graph does not allow, in words.
        self.missing = [*self._missing_events(), *self._missing_branches()]
        self.violations = self._violations()
        ends = self._completes | self._fails
        # A saga that is over may not be at rest yet: compensations may still have to run.
        self.ended = any(each.kind == ENDED for each in self.notes) or any(each.type in ends for each in self.events)
        self.deadlines = [] if self.ended else found.deadlines()  # Those that are set, whatever the time is.
        self.state = self._state()
        self.flags = self._flags()  # Those that depend on no time.
        times = [each.at_us for each in self.events] + [each.at_us for each in self.notes]
        starts = [each.at_us for each in self.events if self.kind is not None and each.type == self.kind.starts]
        # In microseconds since 1970, UTC; of the first record where no start is known.
        self.started_us = min(starts or times, default=0)
        self.updated_us = max(times, default=0)

    def _kind(self) -> SagaType | None:
        """Return the saga's type: its start says it, or else any of its records."""
        for event in self.events:
            if not event.causation_id and (started := self._graph.started_by(event.type)) is not None:
                return started
        sagas = self._graph.sagas
        names = [each.saga_type for each in self.events] + [each.saga_type for each in self.notes]
        return next((sagas[name] for name in names if name in sagas), None)

    def _missing_events(self) -> list[str]:
        """Return the events that are named and must still come: between topics, records are in no order."""
        missing = {
            each: f"the cause of {event.type}"
            for event in self.events
            if self._graph.node(*emitter(event.source)) is not None
            for each in parents(event)
            if each not in self._by_id
        }
        for note in self.notes:
            if note.kind == ENDED and note.event_id and note.event_id not in self._by_id:
                missing[note.event_id] = note.event_type or "the event that ended the saga"
        return [f"event {event_id}, {why}" for event_id, why in sorted(missing.items())]

    def _missing_branches(self) -> list[str]:
        """Return the branches that must still come: a fan-out opens all at once, and its events say how many."""
        missing = []
        for step in self.steps.values():
            branches = {each.branch for each in step.results} - {step.branch}
            forks = [opened for branch in branches if (opened := fork(branch)) is not None]
            of = max((opened.of for opened in forks), default=0)
            if left := of - len({opened.path for opened in forks}):
                missing.append(f"{left} of the {of} branches that {step.node.name} opened")
        return sorted(missing)

    def _state(self) -> SagaState:
        completing = [each for each in self.events if each.type in self._completes]
        failing = [each for each in self.events if each.type in self._fails]
        if failing or any(each.type in self._graph.failures for each in self.events):
            if self.missing or any(_must_close(step) for step in self.steps.values()):
                return SagaState.COMPENSATING
            if completing and not (failing and _earliest(failing) < _earliest(completing)):
                return SagaState.COMPLETED
            declared = self.kind is None or bool(self._fails)
            return SagaState.COMPENSATING if declared and not failing else SagaState.FAILED
        if completing and not self.missing:
            return SagaState.COMPLETED
        only = self.events[0] if len(self.events) == 1 and not self.notes else None
        started = only is not None and self._graph.started_by(only.type) is not None and not only.causation_id
        return SagaState.STARTED if started else SagaState.PENDING

    def _flags(self) -> frozenset[Flag]:
        flags = set()
        steps = self.steps.values()
        # A deadline that fires may move what nothing else does. A delayed event does not count: that it was called off
        # is noted nowhere, so it may never come.
        moving = (
            self.state in AT_REST or bool(self.missing) or bool(self.deadlines) or any(step.moves for step in steps)
        )
        if any(step.parked for step in steps):
            flags |= {Flag.PARKED} if moving else {Flag.PARKED, Flag.STUCK}
        if any(each.differs for each in self.events) or any(each.kind == "duplicate-differs" for each in self.notes):
            flags.add(Flag.DIFFERS)
        if self.violations:
            flags.add(Flag.VIOLATION)
        return frozenset(flags)

    def _violations(self) -> list[str]:
        violations = [
            f"{event.type} ({event.event_id}): {text}" for event in self.events if (text := self._violation(event))
        ]
        ends = [each.type for each in self.events if each.type in self._completes | self._fails]
        if len(ends) > 1:
            violations.append(f"{len(ends)} events end this saga, and one at most may: {', '.join(ends)}")
        return violations

    def _violation(self, event: EventRow) -> str:
        """Return what the graph does not allow about one event, or ""."""
        graph = self._graph
        if event.type not in graph.events:
            return "no manifest declares this type"
        node = graph.node(*emitter(event.source))
        if node is None:
            if event.type in graph.outside and not event.causation_id:
                return ""
            who = event.source or "nobody named"
            return f"{who} is no handler of any manifest, and it does not come from outside"
        # What an `otherwise` emits stands in for the results of the handler that it guards.
        step = graph.step_of(*node.key)
        if event.type not in (node.emits | step.emits if step is not None else node.emits):
            return f"{node.name} does not declare that it emits this"
        cause = self._by_id.get(event.causation_id)
        if step is None or step.kind == "compensation" or cause is None or cause.type in step.waited_for:
            return ""
        return f"{node.name} does not wait for {cause.type}, its cause"


def _must_close(step: TrackedStep) -> bool:
    """Return whether a step keeps an aborted saga from resting: a compensation, or one that may have to be undone."""
    return step.open and (step.node.kind == "compensation" or step.node.leads)


def _earliest(ends: list[EventRow]) -> tuple[int, tuple[str, int, int]]:
    return min((each.at_us, place(each)) for each in ends)
