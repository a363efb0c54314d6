"""A counterexample, for people to read and as a test to paste.

What happened is written here as a story, a line for each thing, and as calls of `choreo.testing`; it is found by
`model_checker`. Pure: text.
"""

from collections.abc import Iterable, Iterator

from choreo.event import Envelope, short
from choreo.invariants import Breach
from choreo.memory import TimerKind
from choreo.verify.actor import Actor, Attempt
from choreo.verify.model_state import END, Action
from choreo.verify.saga_model import SagaModel

_TIMERS = {
    TimerKind.RETRY: "tries {} again",
    TimerKind.DEADLINE: "{} is due",
    TimerKind.LATER: "what {} put off is due",
}
_CLEAR_OF_CHANCE = "seed=0, crash=0, abort=0, lose=0, fail=0, duplicate=0, delay=0, reorder=False, park=True"


def as_story(model: SagaModel, actions: Iterable[Action]) -> Iterator[str]:
    """Yield a counterexample, a line for each thing that happened."""
    yield f"{short(model.saga.starts.__choreo_type__)} is published"
    for action in actions:
        if action.move is None:
            assert isinstance(action.item, int)
            yield f"{short(model.register.events[action.item].type)} is published from outside"
            continue
        parts = [_what(model, action)]
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


def _what(model: SagaModel, action: Action) -> str:
    service = model.actors[action.service].name
    if isinstance(action.item, tuple):
        kind, handler, branch, *_ = action.item
        where = f" in {branch}" if branch else ""
        return f"{service}: {_TIMERS[kind].format(handler)}{where}"
    if action.item == END:
        return f"{service} reads the saga's end"
    event = model.register.events[action.item]
    return f"{service} reads {short(event.type)}{f' in {event.branch}' if event.branch else ''}"


def _attempt(attempt: Attempt) -> str:
    if attempt.failed:
        return f"{attempt.handler} raises{', until its retries are spent' if attempt.final else ''}"
    return f"{attempt.handler} → {', '.join(attempt.told) or 'nothing'}"


def as_test(model: SagaModel, breach: Breach, actions: Iterable[Action]) -> str:
    """Return a counterexample as a test: the services go by their names, events by those of their classes."""
    names = [_name(each.name) for each in model.actors]
    happened = list(actions)
    start, outside = model.saga.starts.__name__, any(action.move is None for action in happened)
    lines = [
        "from choreo.testing import Point, Simulation",
        "from choreo.testing.sample import sample",
        "",
        "",
        f"def test_{_name(model.saga.name)}():",
        f"    # Events that the services share, and {', '.join(names)}: import them from where they are.",
        f"    with Simulation({', '.join(names)}, {_CLEAR_OF_CHANCE}) as s:",
        *_twice(model, happened, model.register.events[:1], start),
        f"        {'saga = ' * outside}s.publish(sample({start}))",
        *(line for action in happened for line in _test_lines(model, happened, action)),
    ]
    if breach.invariant == "I6":
        lines.append("        # Assert here that what was done outside, and is not committed, is undone.")
    return "\n".join(lines) + "\n"


def _test_lines(model: SagaModel, actions: list[Action], action: Action) -> Iterator[str]:
    if action.move is None:
        assert isinstance(action.item, int)
        event = model.register.events[action.item]
        kind = type(event.event).__name__
        yield from _twice(model, actions, [event], kind)
        yield f"        s.publish(sample({kind}), saga_id=saga.saga_id)"
        return
    actor = model.actors[action.service]
    service = _name(actor.name)
    for attempt in action.move.attempts:
        if attempt.failed:
            times = _tries(actor, attempt)
            yield f'        s.fail({service}, "{attempt.handler}"{f", times={times}" if times > 1 else ""})'
        else:
            answer = "".join(f", sample({kind})" for kind in attempt.told)
            yield f'        s.answer({service}, "{attempt.handler}"{answer})'
    if action.crash:
        yield f"        s.crash({service}, at=Point.BEFORE_COMMIT)"
    else:
        for event in action.move.events:
            yield from _twice(model, actions, [event], type(event.event).__name__)
    if isinstance(action.item, tuple):
        yield f"        s.fire({service})"
    elif action.item == END:
        yield f'        s.step({service}, "choreo.ends")'
    else:
        yield f"        s.step({service}, {type(model.register.events[action.item].event).__name__})"
    for attempt in action.move.attempts:
        yield from [f"        s.fire({service})"] * (_tries(actor, attempt) - 1)


def _tries(actor: Actor, attempt: Attempt) -> int:
    """Return how often a handler is tried before its step has come as far as it did here."""
    return actor.rules.handlers[attempt.handler].retry.attempts - attempt.attempt + 1 if attempt.final else 1


def _twice(model: SagaModel, actions: list[Action], events: Iterable[Envelope], kind: str) -> Iterator[str]:
    """Yield that an event is to come twice, before it is published."""
    ids = {each.event_id for each in events}
    for action in actions:
        if action.twice and isinstance(action.item, int) and model.register.events[action.item].event_id in ids:
            yield f"        s.duplicate({kind})"


def _name(text: str) -> str:
    return text.replace("-", "_").replace(".", "_")
