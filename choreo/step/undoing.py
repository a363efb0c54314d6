"""Which compensations an event sets going, and which steps it cancels.

The rules of SEMANTICS 14 to 17 and 20 live here: originals in scope, steps overtaken by a cause, and undoing what may
have happened. `plan` asks on behalf of every event. Pure.
"""

from collections.abc import Iterable, Iterator

from choreo.event import Envelope
from choreo.memory import FenceKey, Memory, Recorded, Status
from choreo.scope import fork, reaches
from choreo.step.call import Call
from choreo.step.failing import resume
from choreo.step.reactions import Rules, Undo, names
from choreo.step.recording import first, key_of, recall

_CANCELLED = frozenset({Status.PARKED, Status.RETRYING})


def caused(rules: Rules, memory: Memory, undo: Undo, cause: Envelope) -> Iterator[Call]:
    """Yield what a compensation's cause sets going: every original in scope, and steps that it cancels."""
    handler = undo.handler
    for recorded in list(memory.events.values()):
        if recorded.type not in undo.originals or not reaches(cause, recorded.branch, rules.failures):
            continue
        if not _undone(memory, rules.undoers[recorded.type], recorded.branch, recorded.event_id):
            yield _compensation(rules, memory, undo, cause, recall(rules, cause.saga_id, recorded))
        elif rules.at_least_once and (handler.name, recorded.branch, recorded.event_id) in memory.fences:
            yield from again(rules, memory, handler.name, cause, recorded.event_id, recorded.branch)
    for key, fence in list(memory.fences.items()):
        name, branch, trigger = key
        if name not in undo.guarded or fence.status is Status.DONE or not reaches(cause, branch, rules.failures):
            continue
        causes = _causes_of(rules, memory, key, cause)
        undone = Call(rules.handlers[name], branch, trigger, cause, (), causes, fence.check)
        if fence.status in _CANCELLED:
            undone.skip = f"{cause.type} came while it was {fence.status.name.lower()}"
            yield undone
        elif rules.at_least_once and fence.status is Status.SKIPPED:
            # This cause may be what cancelled it.
            yield Call(undone.handler, branch, trigger, cause, (), (cause,), again=True)
        yield from null(rules, memory, undo, cause, undone)


def late_original(rules: Rules, memory: Memory, undo: Undo, original: Envelope) -> Iterator[Call]:
    """Yield the compensation of an own event that comes after its cause (rule 14: whenever that comes)."""
    fence = memory.fences.get((undo.handler.name, original.branch, original.event_id))
    cause = first(rules, memory, undo.causes, original.branch)
    if fence is not None and rules.at_least_once:
        yield from again(rules, memory, undo.handler.name, original, original.event_id)
    elif cause is not None and not _undone(memory, rules.undoers[original.type], original.branch, original.event_id):
        yield _compensation(rules, memory, undo, recall(rules, original.saga_id, cause), original)


def allowed(rules: Rules, memory: Memory, call: Call) -> list[Call]:
    """Return a forward call as the rules leave it: to run, skipped with its null compensations, or parked."""
    handler = call.handler
    calls = [call]
    if memory.events:
        for undo in rules.guards.get(handler.name, ()):
            cause = first(rules, memory, undo.causes, call.branch)
            if cause is not None:
                call.skip = call.skip or f"{cause.type} came first"
                calls += null(rules, memory, undo, cause, call)
        if (unless := rules.unless[handler.name]) and not call.skip:
            before = first(rules, memory, unless, call.branch)
            if before is not None and before.event_id != call.ready.event_id:
                call.skip = f"unless {before.type}, which came first"
    if not call.skip and call.ready.hop >= rules.hops_max:
        call.error = rules.too_far(handler.name, call.ready.hop)
    return calls


def null(rules: Rules, memory: Memory, undo: Undo, cause: Recorded | Envelope, undone: Call) -> Iterator[Call]:
    """Yield the compensation with `None` of a step that was cancelled, if the handler takes it (rule 16)."""
    if not undo.optional:
        return
    ready = undone.ready
    key = key_of(rules, ready.saga_id, undone.name, undone.branch, undone.trigger)
    if _undone(memory, [each.handler.name for each in rules.guards.get(undone.name, ())], undone.branch, key):
        if (
            rules.at_least_once
            and isinstance(cause, Envelope)
            and (undo.handler.name, undone.branch, key) in memory.fences
        ):
            yield from again(rules, memory, undo.handler.name, cause, key, undone.branch)
        return
    why = cause if isinstance(cause, Envelope) else recall(rules, ready.saga_id, cause)
    extras = _extras(rules, memory, undo, ready.saga_id, undone.causes, undone.branch)
    yield Call(
        undo.handler,
        undone.branch,
        key,
        ready,
        (why, None, *extras),
        (why, *undone.causes),
        compensates_id=key,
        undoes_key=key,
    )


def again(
    rules: Rules, memory: Memory, name: str, envelope: Envelope, trigger: str, branch: str | None = None
) -> Iterator[Call]:
    """Yield a step that has run before, and its null compensation, to be emitted again (rule 10)."""
    where = envelope.branch if branch is None else branch
    yield Call(rules.handlers[name], where, trigger, envelope, (), (envelope,), again=True)
    for undo in rules.guards.get(name, ()):
        key = key_of(rules, envelope.saga_id, name, where, trigger)
        if (undo.handler.name, where, key) in memory.fences:
            yield Call(undo.handler, where, key, envelope, (), (envelope,), again=True)


def _undone(memory: Memory, undoers: Iterable[str], branch: str, trigger: str) -> bool:
    """Whether any compensation has undone this, or is about to: each original is undone once (rule 18)."""
    return any((name, branch, trigger) in memory.fences for name in undoers)


def _extras(
    rules: Rules, memory: Memory, undo: Undo, saga_id: str, causes: tuple[Envelope, ...], branch: str
) -> list[Envelope | None]:
    found: list[Envelope | None] = []
    for types in undo.handler.extras:
        wanted = names(types)
        match: Envelope | None = next((each for each in causes if each.type in wanted), None)
        if match is None:
            recorded = first(rules, memory, wanted, branch)
            match = recall(rules, saga_id, recorded) if recorded is not None and recorded.body else None
        found.append(match)
    return found


def _compensation(rules: Rules, memory: Memory, undo: Undo, cause: Envelope, original: Envelope) -> Call:
    kept = memory.events.get(original.event_id)
    key = original.event_id
    if kept is not None and kept.step:
        where, place = original.branch, fork(original.branch)
        if place is not None and (kept.step, where, kept.trigger) not in memory.fences:
            # A fan-out's events are in branches that it opened; the step itself ran in the outer one.
            where = place.outer
        key = key_of(rules, original.saga_id, kept.step, where, kept.trigger)
    ids = {original.causation_id, *original.causes}
    own_causes = tuple(
        recall(rules, cause.saga_id, each) for each in memory.events.values() if each.event_id in ids and each.body
    )
    extras = _extras(rules, memory, undo, cause.saga_id, own_causes, original.branch)
    return Call(
        undo.handler,
        original.branch,
        original.event_id,
        cause,
        (cause, original, *extras),
        (cause, original),
        compensates_id=original.event_id,
        undoes_key=key,
    )


def _causes_of(rules: Rules, memory: Memory, key: FenceKey, near: Envelope) -> tuple[Envelope, ...]:
    """Return what made a step ready that was skipped, is waiting or ended unknown, as far as it is kept."""
    waiting = resume(rules, memory, near.saga_id, key)
    if waiting is not None:
        return waiting.causes
    name, branch, trigger = key
    if trigger:
        kept = memory.events.get(trigger)
        found = [kept] if kept is not None else []
    else:
        firsts = (first(rules, memory, names(types), branch) for types in rules.handlers[name].waits_for)
        found = [each for each in firsts if each is not None]
    return tuple(recall(rules, near.saga_id, each) for each in found if each.body)
