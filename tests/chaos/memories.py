"""The tracker's answers against the services' own memories (I5).

The compacted memory topics are read plainly and decoded with `choreo.memory`; nothing of the runtime is used.
"""

from choreo.memory import Memory, MemoryFlag, Status
from choreo.saga import SagaState
from choreo.tracker import Tracker
from tests.chaos.judge import consume

SERVICES = ("orders", "inventory", "payments", "shipping", "notifications")
SAMPLE = 300
RAN = {"completed", "failed", "compensated", "compensating"}


def remembered(bootstrap: str, service: str) -> dict[str, Memory]:
    """Return what one service remembers, by saga."""
    latest: dict[str, bytes | None] = {}
    for message in consume(bootstrap, (f"{service}.memory",)):
        latest[message.key().decode()] = message.value()
    return {saga_id: Memory.decode(value) for saga_id, value in latest.items() if value is not None}


def disagreements(bootstrap: str, url: str) -> list[str]:
    """Return where tracker and memories tell different stories: states of all sagas, steps of a sample."""
    breaches: list[str] = []
    tracker = Tracker.open(url)
    memories = {service: remembered(bootstrap, service) for service in SERVICES}
    for number, (saga_id, memory) in enumerate(memories["orders"].items()):
        view = tracker.saga(saga_id)
        if view is None:
            breaches.append(f"I5: the tracker does not know {saga_id}")
            continue
        ended = SagaState.COMPLETED if memory.flags & MemoryFlag.COMPLETED else SagaState.FAILED
        if view.state is not ended:
            breaches.append(f"I5: {saga_id} is {view.state} to the tracker and {ended} to its owner")
        if number >= SAMPLE:
            continue
        dropped = {(note.service, note.handler, note.trigger) for note in view.notes if note.kind == "dropped"}
        for step in view.steps:
            known = memories[step.service].get(saga_id)
            fence = None if known is None else known.fences.get((step.name, step.branch, step.trigger))
            status = None if fence is None else fence.status
            # An owner's step whose event may not be emitted any more has run; the tracker shows that nothing came of it.
            ran = str(step.status) in RAN or (step.service, step.name, step.trigger) in dropped
            skipped = str(step.status) == "skipped" and not ran
            if ran != (status is Status.DONE) or skipped != (status is Status.SKIPPED):
                told = "nothing" if status is None else status.name
                breaches.append(f"I5: {saga_id} {step.service}.{step.name} is {step.status}, and remembered as {told}")
    return breaches
