"""What happened, told for people.

The words for a counterexample live here: one line a thing that happened, in order. What happened is the `search`'s to
find. Pure.
"""

from collections.abc import Iterable, Iterator

from choreo.event import short
from choreo.memory import TimerKind
from choreo.verify.actor import Attempt
from choreo.verify.state import END, Action
from choreo.verify.world import World

_TIMERS = {
    TimerKind.RETRY: "tries {} again",
    TimerKind.DEADLINE: "{} is due",
    TimerKind.LATER: "what {} put off is due",
}


def story(world: World, actions: Iterable[Action]) -> list[str]:
    """Return a counterexample, a line for each thing that happened."""
    return list(_lines(world, actions))


def _lines(world: World, actions: Iterable[Action]) -> Iterator[str]:
    yield f"{short(world.saga.starts.__choreo_type__)} is published"
    for action in actions:
        if action.move is None:
            assert isinstance(action.item, int)
            yield f"{short(world.register.events[action.item].type)} is published from outside"
            continue
        parts = [_what(world, action)]
        if action.twice:
            parts.append("(it will come once more)")
        if action.again:
            parts.append("a second time")
        line = " ".join(parts)
        done = [_attempt(each) for each in action.move.attempts]
        if action.crash:
            done.append("it crashes before the commit")
        elif not done:
            done.append("takes note" if not action.move.notes else "the step is skipped")
        yield f"{line}: {'; '.join(done)}"


def _what(world: World, action: Action) -> str:
    service = world.actors[action.service].name
    if isinstance(action.item, tuple):
        kind, handler, branch, *_ = action.item
        where = f" in {branch}" if branch else ""
        return f"{service}: {_TIMERS[kind].format(handler)}{where}"
    if action.item == END:
        return f"{service} reads the saga's end"
    event = world.register.events[action.item]
    return f"{service} reads {short(event.type)}{f' in {event.branch}' if event.branch else ''}"


def _attempt(attempt: Attempt) -> str:
    if attempt.failed:
        return f"{attempt.handler} raises{', until its retries are spent' if attempt.final else ''}"
    return f"{attempt.handler} → {', '.join(attempt.told) or 'nothing'}"
