"""The steps of one saga, worked out from its events and notes.

Which step each record belongs to, what made it ready, what came of it and what undoes it are found here; what that
says about the saga as a whole is not (`projection`). Pure: no I/O, no clock. The rules mirror those by which
services act (SEMANTICS 6, 7, 14-18), so that the tracker's answer is theirs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from choreo.branch import covers, related
from choreo.event import emitted_id
from choreo.tracker.graph import Graph, Node, emitter
from choreo.tracker.seen import Noted, Seen
from choreo.tracker.view import StepStatus

Key = tuple[str, str, str, str]
"""Service, handler, branch, trigger."""

_SETTLING = {"completed": StepStatus.COMPLETED, "skipped": StepStatus.SKIPPED, "dropped": StepStatus.SKIPPED}


@dataclass(slots=True, eq=False)
class Step:
    """One step, forward or compensating.

    Attributes:
        causes: Events that it answers, as far as they have come.
        ready: All its causes have come.
        results: Events it emitted.
        settled: The note that says how it ended without an event.
        held: The last note that says it is parked or being retried.
        attempts: Failed attempts that are known of.
        undoes: For a compensation: the forward step that it undoes, None where its original came from outside.
        undoings: For a forward step: its compensations.
    """

    node: Node
    branch: str
    trigger: str
    causes: list[Seen] = field(default_factory=list)
    ready: bool = False
    results: list[Seen] = field(default_factory=list)
    settled: Noted | None = None
    held: Noted | None = None
    attempts: int = 0
    undoes: "Step | None" = None
    undoings: list["Step"] = field(default_factory=list)

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
    def since_us(self) -> int:
        """When it became ready or, before that, when its first cause came."""
        times = [each.at_us for each in self.causes]
        if not times:
            marks = [
                *(each.at_us for each in self.results),
                *(each.at_us for each in (self.settled, self.held) if each),
            ]
            return min(marks, default=0)
        return max(times) if self.ready else min(times)

    def status(self, failures: Iterable[str]) -> StepStatus:
        """Return how far this step has come, with its undoing."""
        if self.undoings and self.results:
            if any(each.parked for each in self.undoings):
                return StepStatus.PARKED
            if any(each.open for each in self.undoings):
                return StepStatus.COMPENSATING
            return StepStatus.COMPENSATED
        if self.results:
            return StepStatus.FAILED if any(each.type in failures for each in self.results) else StepStatus.COMPLETED
        if self.settled is not None:
            return _SETTLING[self.settled.kind]
        if self.held is not None:
            return StepStatus.PARKED if self.parked else StepStatus.RETRYING
        return StepStatus.EXECUTING if self.ready else StepStatus.PENDING


def reaches(graph: Graph, cause: Seen, branch: str) -> bool:
    """Return whether an event has a say in a branch (SEMANTICS rule 7)."""
    if cause.type in graph.failures:
        return True
    return related(cause.branch, branch) if cause.compensates_id else covers(cause.branch, branch)


def steps_of(graph: Graph, saga_id: str, events: Sequence[Seen], notes: Sequence[Noted]) -> dict[Key, Step]:
    """Return every step that these records speak of, and every one that is due.

    Args:
        graph: The choreography.
        saga_id: The saga that all records belong to.
        events: Without duplicates, in the order of `in_order`.
        notes: Without duplicates, by time.
    """
    steps: dict[Key, Step] = {}
    _due(graph, steps, events)
    for event in events:
        if event.causation_id:
            _result(graph, steps, event)
    for note in notes:
        if note.handler:
            _note(graph, steps, note)
    for node in graph.compensations:
        causes = [each for each in events if each.type in node.causes]
        if causes:
            _undo(graph, steps, node, causes, events)
            if node.optional:
                _undo_nothing(graph, steps, node, causes, saga_id)
    _pair(steps, saga_id)
    return steps


def _due(graph: Graph, steps: dict[Key, Step], events: Sequence[Seen]) -> None:
    """Find the forward steps that these events are causes of."""
    joins: dict[Node, list[Seen]] = {}
    for event in events:
        for node in graph.waiting.get(event.type, ()):
            if len(node.waits_for) == 1:
                step = _step(steps, node, event.branch, event.event_id)
                step.causes, step.ready = [event], True
            else:
                joins.setdefault(node, []).append(event)
    for node, found in joins.items():
        _join(steps, node, found)


def _step(steps: dict[Key, Step], node: Node, branch: str, trigger: str) -> Step:
    key = (node.service, node.name, branch, trigger)
    step = steps.get(key)
    if step is None:
        step = steps[key] = Step(node, branch, trigger)
    return step


def _join(steps: dict[Key, Step], node: Node, found: list[Seen]) -> None:
    branches = dict.fromkeys(each.branch for each in found)
    for branch in branches:
        chosen = []
        for types in node.waits_for:
            first = next((each for each in found if each.type in types and covers(each.branch, branch)), None)
            if first is not None:
                chosen.append(first)
        here = any(each.branch == branch for each in chosen)
        ready = len(chosen) == len(node.waits_for)
        inner = any(each != branch and covers(branch, each) for each in branches)
        # An outer event joins each inner branch, so it does not wait on its own once there is one.
        if here and (ready or not inner):
            step = _step(steps, node, branch, "")
            step.causes, step.ready = chosen, ready


def _result(graph: Graph, steps: dict[Key, Step], event: Seen) -> None:
    service, handler = emitter(event.source)
    node = graph.nodes.get((service, handler))
    if node is not None and node.kind == "compensation":
        _step(steps, node, event.branch, event.compensates_id).results.append(event)
        return
    node = graph.forward_of(service, handler)
    if node is None:
        return
    branch = event.branch.rpartition("/")[0] if node.fan_out else event.branch
    trigger = event.causation_id if len(node.waits_for) == 1 else ""
    _step(steps, node, branch, trigger).results.append(event)


def _note(graph: Graph, steps: dict[Key, Step], note: Noted) -> None:
    node = graph.nodes.get((note.service, note.handler))
    if node is not None and node.guards:
        node = graph.nodes.get((note.service, node.guards))
    if node is None:
        # No manifest names it; a step that waits for a person is shown all the same.
        known = (step.node for step in steps.values() if step.node.key == (note.service, note.handler))
        node = next(known, None) or Node(note.service, note.handler)
    if note.kind in _SETTLING:
        step = _step(steps, node, note.branch, note.trigger)
        if step.settled is None or note.kind != "dropped":
            step.settled = note
    elif note.kind in {"parked", "retried"}:
        step = _step(steps, node, note.branch, note.trigger)
        # Notes come by time; at one moment, being parked is the later of the two.
        if not (step.held is not None and step.held.at_us == note.at_us and step.held.kind == "parked"):
            step.held = note
        step.attempts = max(step.attempts, note.attempt)
        step.ready = True


def _undo(graph: Graph, steps: dict[Key, Step], node: Node, causes: list[Seen], events: Sequence[Seen]) -> None:
    """Make every original in scope owed; what undoes it already is found under the same key."""
    for original in events:
        if original.type in node.original:
            cause = next((each for each in causes if reaches(graph, each, original.branch)), None)
            if cause is not None:
                step = _step(steps, node, original.branch, original.event_id)
                step.causes, step.ready = [cause, original], True


def _undo_nothing(graph: Graph, steps: dict[Key, Step], node: Node, causes: list[Seen], saga_id: str) -> None:
    """Make the undoing of every step that was skipped, its own cause being known, owed (SEMANTICS rule 16)."""
    for step in list(steps.values()):
        if node not in step.node.undoers or step.results or step.settled is None or step.settled.kind != "skipped":
            continue
        cause = next((each for each in causes if reaches(graph, each, step.branch)), None)
        if cause is not None:
            undoing = _step(steps, node, step.branch, step_key(saga_id, step))
            undoing.causes, undoing.ready = [cause, *step.causes], True


def step_key(saga_id: str, step: Step) -> str:
    """Return the idempotency key of a step: as the journal has it, else by the formula of every id."""
    if step.settled is not None and step.settled.step:
        return step.settled.step
    return emitted_id(saga_id, f"{step.node.service}.{step.node.name}", step.branch, step.trigger, "effect")


def _pair(steps: dict[Key, Step], saga_id: str) -> None:
    """Hang each compensation on the step that it undoes."""
    undoings = [step for step in steps.values() if step.node.kind == "compensation"]
    if not undoings:
        return
    made: dict[str, Step] = {}
    for step in steps.values():
        if step.node.kind != "compensation":
            for result in step.results:
                made[result.event_id] = step
            if step.settled is not None:
                made[step_key(saga_id, step)] = step
    done = {each.trigger for each in undoings if each.results or each.settled is not None}
    for each in undoings:
        if each.open and each.trigger in done:
            # Each original is undone once (SEMANTICS rule 18); another handler that might have done it need not.
            del steps[each.node.service, each.node.name, each.branch, each.trigger]
            continue
        each.undoes = made.get(each.trigger)
        if each.undoes is not None:
            each.undoes.undoings.append(each)
