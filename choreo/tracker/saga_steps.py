"""The steps of one saga and the deadlines that are set in it, worked out from its events and notes.

Which step each record belongs to, which steps are due and what must be undone is found here; what that says about the
saga as a whole (`verdict`) is not. Pure: no I/O, no clock.

The rules are those by which services act, so that the tracker's answer is theirs. Those about one event or one step
are the same functions (`scope`, the compiled graph). Joins and compensations are worked out anew, because a service
decides event by event and from what it has read so far, while here all records of all services are at hand at once, in
any order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from choreo.choreography import NOTHING, Choreography, Node
from choreo.manifest import HandlerManifest
from choreo.records import NOTE_KINDS, NoteKind
from choreo.scope import KEY_CHARS, by_fan_out, emitter, fan_in_trigger, fork, reaches, step_key
from choreo.tracker.rows import EventRow, NoteRow, as_written, parents
from choreo.tracker.tracked_step import StepKey, TrackedStep

Steps = dict[StepKey, TrackedStep]
"""The steps of one saga."""

_LAST_US = 253_370_764_800_000_000  # The year 9999; later than that nothing is due.


class SagaSteps:
    """Every step that these records speak of, and every one that is due; and the deadlines that are set.

    Args:
        graph: The choreography.
        saga_id: The saga that all records belong to.
        events: Without duplicates, in the order of `in_order`.
        notes: Without duplicates.
    """

    def __init__(self, graph: Choreography, saga_id: str, events: Sequence[EventRow], notes: Iterable[NoteRow]) -> None:
        self.steps: Steps = {}
        self._graph = graph
        self._saga_id = saga_id
        self._events = events
        self._by_id = {event.event_id: event for event in events}
        # The order counts: what is undone depends on what came of forward steps.
        self._add_forward_steps()
        for event in events:
            if event.causation_id:
                self._add_result(event)
        for note in as_written(notes):
            if note.handler:
                self._add_note(note)
        self._add_compensations()
        self._pair_compensations()

    def deadlines(self) -> list["SetDeadline"]:
        """Return the deadlines that are set while the saga has not ended (SEMANTICS 23 and 24)."""
        deadlines: list[SetDeadline] = []
        events, failures = self._events, self._graph.failures
        failed = {event.type for event in events if event.type in failures}
        for node in self._graph.deadlines:
            # What a deadline's service does not read calls nothing off.
            if not node.handler.after_abort and not failed.isdisjoint(self._graph.sees(node.service)):
                continue
            types = NOTHING.union(*node.waits_for)
            awaited = [event for event in events if event.type in node.awaits]
            for trigger in (event for event in events if event.type in types):
                fired = (*node.key, trigger.branch, trigger.event_id) in self.steps
                if not fired and not any(reaches(event, trigger.branch, failures) for event in awaited):
                    due_us = None if node.within_us is None else trigger.at_us + node.within_us
                    limited = due_us if due_us is not None and due_us < _LAST_US else None
                    deadlines.append(SetDeadline(node, trigger, limited))
        return deadlines

    def _at(self, node: Node, branch: str, trigger: str) -> TrackedStep:
        """Return a step, made if it is not there."""
        key = (*node.key, branch, trigger)
        step = self.steps.get(key)
        if step is None:
            step = self.steps[key] = TrackedStep(node, branch, trigger)
        return step

    # What is due: SEMANTICS 6, 7 and 12.

    def _add_forward_steps(self) -> None:
        """Add the forward steps that these events are causes of."""
        joins: dict[Node, list[EventRow]] = {}
        for event in self._events:
            for node in self._graph.waiting(event.type):
                if node.joins:
                    joins.setdefault(node, []).append(event)
                else:
                    self._at(node, event.branch, event.event_id).answer(event)
        for node, events in joins.items():
            if node.gathers is None:
                self._add_join(node, events)
            else:
                self._add_fan_in(node, node.gathers, events)

    def _add_join(self, node: Node, events: list[EventRow]) -> None:
        """Add a join in every branch where one of its events is."""
        firsts = _first_events(node, events)
        branches = dict.fromkeys(event.branch for event in events)
        outer_branches = {outer for branch in branches for outer in enclosing(branch) if outer != branch}
        for branch in branches:
            chosen = list(_chosen(firsts, range(len(node.waits_for)), branch))
            ready = len(chosen) == len(node.waits_for)
            # An outer event joins each inner branch, so it does not wait on its own once there is one.
            if any(event.branch == branch for event in chosen) and (ready or branch not in outer_branches):
                step = self._at(node, branch, "")
                step.causes, step.ready = chosen, ready

    def _add_fan_in(self, node: Node, gathers: int, events: list[EventRow]) -> None:
        """Add a fan-in for every fan-out of which a branch has brought something."""
        firsts = _first_events(node, events)
        places = [place for place in range(len(node.waits_for)) if place != gathers]
        for (outer, key, _, of), by_path in by_fan_out(events, node.waits_for[gathers]).items():
            step = self._at(node, outer, key)
            if step.ready:
                continue
            others = list(_chosen(firsts, places, outer))
            step.causes = [*(by_path[path] for path in sorted(by_path)), *others]
            step.gathered = (len(by_path), of)
            step.ready = len(by_path) == of and len(others) == len(places)

    # What came of it.

    def _add_result(self, event: EventRow) -> None:
        """Give an event to the step that emitted it."""
        service, handler = emitter(event.source)
        node = self._graph.step_of(service, handler)
        if node is None:
            return
        opened = fork(event.branch)
        branch, trigger = event.branch, None
        if opened is not None:
            # A step that returned a list ran around the branches that carry its key; what it returned beside the list
            # is not in one of them.
            outer = self._trigger(node, event, opened.outer)
            if self._key_at(node, opened.outer, outer)[:KEY_CHARS] == opened.key:
                branch, trigger = opened.outer, outer
        step = self._at(node, branch, self._trigger(node, event, branch) if trigger is None else trigger)
        step.results.append(event)
        if node.handler.name != handler:
            step.given_up.append(event)

    def _trigger(self, node: Node, event: EventRow, branch: str) -> str:
        """Return the trigger of the step of this branch that emitted an event (SEMANTICS rule 2)."""
        if node.kind == "compensation":
            return event.compensates_id
        if node.gathers is None:
            return "" if node.joins else event.causation_id
        causes = (self._by_id[each] for each in parents(event) if each in self._by_id)
        return fan_in_trigger(branch, node.waits_for[node.gathers], causes)

    def _add_note(self, note: NoteRow) -> None:
        """Give a note of the journal to its step."""
        kind = NOTE_KINDS.get(note.kind, NoteKind())
        if not kind.settles and not kind.holds and note.kind != "resumed":
            return
        node = self._graph.step_of(note.service, note.handler)
        if node is None:
            # No manifest names it; a step that waits for a person is shown all the same.
            same = (step.node for step in self.steps.values() if step.node.key == (note.service, note.handler))
            node = next(same, None) or Node(note.service, HandlerManifest(name=note.handler), current=False)
        step = self._at(node, note.branch, note.trigger)
        if kind.holds:
            step.held, step.ready = note, True
            step.attempt = max(step.attempt, note.attempt)
            if note.error or step.failed is None:
                step.failed = note
        elif note.kind == "resumed" or (note.kind == "resolved" and note.event_type):
            # A person's event comes as the step's result, or is dropped like any other.
            step.held, step.ready = note, True
            step.earlier, step.attempt = step.earlier + step.attempt, 0
        elif step.settled is None or note.kind != "dropped":
            step.settled = note

    # What must be undone: SEMANTICS 7 and 14 to 18.

    def _add_compensations(self) -> None:
        """Have what a cause reaches undone: every original, and every step of unknown outcome (rule 16)."""
        for node in self._graph.compensations:
            causes = [event for event in self._events if event.type in node.causes]
            for original in self._events if causes else ():
                if original.type in node.original and (cause := self._in_scope(causes, original.branch)) is not None:
                    # The result of a compensation that has run is under the same key.
                    self._at(node, original.branch, original.event_id).answer(cause, original)
            for step in [*self.steps.values()] if causes and node.handler.original_optional else ():
                unknown = node in step.node.undoers and step.unknown
                if unknown and (cause := self._in_scope(causes, step.branch)) is not None:
                    self._at(node, step.branch, self._key(step)).answer(cause, *step.causes)

    def _in_scope(self, causes: list[EventRow], branch: str) -> EventRow | None:
        return next((cause for cause in causes if reaches(cause, branch, self._graph.failures)), None)

    def _pair_compensations(self) -> None:
        """Put each compensation beside the step that it undoes."""
        compensations = [step for step in self.steps.values() if step.node.kind == "compensation"]
        by_trigger: dict[str, TrackedStep] = {}
        for step in self.steps.values() if compensations else ():
            if step.node.kind != "compensation":
                by_trigger |= dict.fromkeys((result.event_id for result in step.results), step)
                if step.settled is not None or step.given_up:
                    by_trigger[self._key(step)] = step
        undone = {each.trigger for each in compensations if each.results or each.settled is not None}
        for each in compensations:
            if each.open and each.trigger in undone:
                # Each original is undone once (SEMANTICS rule 18); another handler that might have done it need not.
                del self.steps[each.key]
                continue
            each.undoes = by_trigger.get(each.trigger)
            if each.undoes is not None:
                each.undoes.compensations.append(each)

    def _key(self, step: TrackedStep) -> str:
        """Return a step's idempotency key, as the journal has it where it says anything about the step."""
        note = step.settled or step.failed
        return (note.step if note is not None else "") or self._key_at(step.node, step.branch, step.trigger)

    def _key_at(self, node: Node, branch: str, trigger: str) -> str:
        return step_key(self._saga_id, node.name, branch, trigger)


def enclosing(branch: str) -> Iterable[str]:
    """Return every branch that covers this one, from the root to itself."""
    return dict.fromkeys(["", *(branch[:at] for at, sign in enumerate(branch) if sign == "/"), branch])


def _first_events(node: Node, events: list[EventRow]) -> dict[tuple[int, str], tuple[int, EventRow]]:
    """Return, by parameter and branch, the first event for it in this very branch, with its place among all.

    A saga may have thousands of branches: which event counts in each is looked up, where a service scans what it kept.
    """
    firsts: dict[tuple[int, str], tuple[int, EventRow]] = {}
    for number, event in enumerate(events):
        for place, types in enumerate(node.waits_for):
            if event.type in types:
                firsts.setdefault((place, event.branch), (number, event))
    return firsts


def _chosen(
    firsts: Mapping[tuple[int, str], tuple[int, EventRow]], places: Iterable[int], branch: str
) -> Iterator[EventRow]:
    """Yield, for each of these parameters, the first event that counts in a branch, if there is one."""
    for place in places:
        in_scope = [firsts[place, outer] for outer in enclosing(branch) if (place, outer) in firsts]
        if in_scope:
            yield min(in_scope)[1]


class SetDeadline(NamedTuple):
    """A deadline that neither fired nor was called off, as far as the records tell."""

    node: Node  # The handler that will be called.
    trigger: EventRow  # The event that it counts from.
    # When, in microseconds since 1970; None where the trigger says how long, which a manifest does not.
    due_us: int | None

    def past(self, now_us: int) -> bool:
        """Return whether it should have fired."""
        return self.due_us is not None and now_us > self.due_us
