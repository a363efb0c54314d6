"""What a live saga still needs of the code that runs, asked before other code takes its place.

The questions to one saga live here, answered from the tracker's view of it; which of them a deploy raises does not
(`service_changes`). Where a view cannot tell, the answer is yes: a guard that warns once too often loses nothing. Pure.
"""

from collections.abc import Collection, Iterator

from choreo.manifest import HandlerManifest
from choreo.scope import covers
from choreo.tracker import SagaStep, SagaView, StepStatus

StepName = tuple[str, str]  # Service and handler.
_OPEN = frozenset({StepStatus.PENDING, StepStatus.EXECUTING, StepStatus.RETRYING, StepStatus.PARKED})
_BEING_UNDONE = frozenset({StepStatus.COMPENSATING, StepStatus.PARKED})


def has_steps(saga: SagaView, step: StepName, taking: Collection[str] | None = None) -> bool:
    """Return whether a step of this handler waits for events, for an attempt or for a person.

    Where types are given as `taking`, only a step counts that may have taken an event of one of them.
    """
    types = {event.event_id: event.type for event in saga.events}
    for each in _open(saga, step):
        # A join does not say what it took: it may be anything that has come.
        taken = {types[each.trigger]} if each.trigger in types else set(types.values())
        if taking is None or not taken.isdisjoint(taking):
            return True
    return False


def has_originals(saga: SagaView, step: StepName, originals: Collection[str]) -> bool:
    """Return whether something stands that only this compensation undoes, or is being undone by it."""
    undone = {event.compensates_id for event in saga.events}
    return (
        any(each.status in _BEING_UNDONE for each in _undone_by(saga, step))
        or any(_made(each, originals) and each.status is not StepStatus.COMPENSATED for each in saga.steps)
        or any(
            not event.causation_id and event.type in originals and event.event_id not in undone for event in saga.events
        )
    )


def has_undoings(saga: SagaView, step: StepName) -> bool:
    """Return whether this compensation has begun to undo, or has undone: under another name it would do so again."""
    begun = {*_BEING_UNDONE, StepStatus.COMPENSATED}
    return any(each.status in begun for each in _undone_by(saga, step)) or has_steps(saga, step)


def has_undoings_for(saga: SagaView, step: StepName, causes: Collection[str]) -> bool:
    """Return whether this compensation has to undo something because one of these events came."""
    come = any(event.type in causes for event in saga.events)
    return come and any(each.status in _BEING_UNDONE for each in _undone_by(saga, step))


def has_deadline(saga: SagaView, service: str, handler: HandlerManifest, failures: Collection[str]) -> bool:
    """Return whether a deadline is set, or has fired and its step is not done.

    It ends with the failures that its service reads, unless it outlives a failure.
    """
    step = (service, handler.name)
    if has_steps(saga, step):
        return True
    if not handler.after_abort and any(event.type in failures for event in saga.events):
        return False
    triggers = {name for types in handler.waits_for for name in types}
    fired = {each.trigger for each in saga.steps if (each.service, each.name) == step}
    awaited = [event.branch for event in saga.events if event.type in handler.awaits]
    return any(
        event.type in triggers
        and event.event_id not in fired
        and not any(covers(branch, event.branch) for branch in awaited)
        for event in saga.events
    )


def _open(saga: SagaView, step: StepName) -> Iterator[SagaStep]:
    mine = (each for each in saga.steps if (each.service, each.name) == step)
    # What is parked in the row of a step with a result is its undoing.
    return (each for each in mine if each.status in _OPEN and each.result is None)


def _undone_by(saga: SagaView, step: StepName) -> Iterator[SagaStep]:
    return (each for each in saga.steps if (each.service, each.compensation) == step)


def _made(row: SagaStep, types: Collection[str]) -> bool:
    return not set((row.result or "").split(", ")).isdisjoint(types)
