"""I5: the tracker's answer agrees with the services' memories.

Which statuses of a step, ends and failures mean the same in both lives here; how either comes to its answer does not.
Pure.
"""

from collections.abc import Iterator, Mapping

from choreo.choreography import Choreography
from choreo.invariants.evidence import Evidence, saga_of, undone
from choreo.memory import Memory, MemoryFlag, Status
from choreo.saga import SagaState
from choreo.tracker.views import Flag, SagaStep, SagaView, StepStatus


def agreed(graph: Choreography, evidence: Evidence) -> Iterator[str]:
    """Yield where the tracker's answer is not what the services remember, or shows what may not be."""
    view, memories = evidence.view, evidence.memories
    if view is None:
        return
    yield from (f"the tracker shows a violation: {each}" for each in view.violations)
    if Flag.DIFFERS in view.flags:
        yield "the tracker shows one event id with two bodies"
    if memories is not None:
        saga = saga_of(graph, evidence.events)
        yield from _ending(view, memories.get(saga.owner) if saga is not None else None)
        yield from _abort(view, memories)
        yield from _steps(view, memories)
        yield from _unknown(graph, evidence, view, memories)


def _ending(view: SagaView, owner: Memory | None) -> Iterator[str]:
    if owner is None or not view.at_rest:
        return
    for flag, ending in ((MemoryFlag.COMPLETED, SagaState.COMPLETED), (MemoryFlag.FAILED, SagaState.FAILED)):
        if owner.flags & flag and view.state is not ending:
            yield f"the saga is {view.state} to the tracker, and {ending} to its owner"
    if view.state is SagaState.COMPLETED and not owner.flags & MemoryFlag.COMPLETED:
        yield f"the saga is {view.state} to the tracker, and not to its owner"


def _abort(view: SagaView, memories: Mapping[str, Memory]) -> Iterator[str]:
    aborted = sorted(service for service, each in memories.items() if each.flags & MemoryFlag.ABORTED)
    if bool(aborted) != bool(view.reasons):
        memory = f"{' and '.join(aborted)} remember one" if aborted else "no service remembers one"
        yield f"the tracker tells of {len(view.reasons)} failures, and {memory}"


def _steps(view: SagaView, memories: Mapping[str, Memory]) -> Iterator[str]:
    """Yield the steps that the tracker shows and a service remembers differently."""
    dropped = {(each.service, each.handler, each.trigger) for each in view.notes if each.kind == "dropped"}
    for row in view.steps:
        fences = memories.get(row.service, Memory()).fences
        fence = fences.get((row.name, row.branch, row.trigger))
        status = None if fence is None else fence.status
        if status not in _remembered_as(row, dropped=(row.service, row.name, row.trigger) in dropped):
            remembered = "nothing" if status is None else status.name.lower()
            yield f"{row.service}.{row.name} is {row.status} to the tracker, and {row.service} remembers {remembered}"


def _unknown(graph: Choreography, evidence: Evidence, view: SagaView, memories: Mapping[str, Memory]) -> Iterator[str]:
    """Yield the steps that a service remembers and no record shows."""
    shown = {(each.service, (each.name, each.branch, each.trigger)) for each in view.steps}
    undoers = {each.name for each in graph.nodes if each.handler.kind == "compensation"}
    undone_by = undone(graph, evidence)
    for service, memory in memories.items():
        for key, fence in memory.fences.items():
            step = f"{service}.{key[0]}"
            if (service, key) in shown:
                continue
            if step not in undoers:
                yield f"{service} remembers a step {key[0]}, and the tracker does not know of it"
            elif fence.status is Status.DONE and step not in undone_by.get(key[2], ()):
                yield f"{service} remembers that {key[0]} has run, and no record tells of it"


def _remembered_as(row: SagaStep, *, dropped: bool) -> set[Status | None]:
    """Return what a service may remember of a step that the tracker shows so."""
    if row.result is not None:
        return {Status.DONE, Status.UNKNOWN}
    if row.status is StepStatus.SKIPPED:
        return {Status.DONE} if dropped else {Status.SKIPPED}
    if row.status in {StepStatus.RETRYING, StepStatus.PARKED}:
        # Either itself or, where its outcome was never known, what undoes it.
        return {Status.RETRYING, Status.PARKED, Status.SKIPPED, Status.UNKNOWN}
    if row.status in {StepStatus.COMPENSATING, StepStatus.COMPENSATED}:
        # Its outcome was never known.
        return {Status.SKIPPED, Status.UNKNOWN}
    return {None}
