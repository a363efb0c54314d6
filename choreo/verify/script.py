"""A counterexample as a test to paste.

Writing what happened as calls of `choreo.testing` lives here; the story in words does not (`story`). Pure: text.
"""

from collections.abc import Iterable, Iterator

from choreo.event import Envelope
from choreo.invariants import Breach
from choreo.verify.actor import Actor, Attempt
from choreo.verify.state import END, Action
from choreo.verify.world import World

_CLEAR_OF_CHANCE = "seed=0, crash=0, abort=0, lose=0, fail=0, duplicate=0, delay=0, reorder=False, park=True"


def script(world: World, breach: Breach, actions: Iterable[Action]) -> str:
    """Return a counterexample as a test: the services go by their names, events by those of their classes."""
    names = [_name(each.name) for each in world.actors]
    told = list(actions)
    start, outside = world.saga.starts.__name__, any(action.move is None for action in told)
    lines = [
        "from choreo.testing import Point, Simulation",
        "from choreo.testing.sample import sample",
        "",
        "",
        f"def test_{_name(world.saga.name)}():",
        f"    # Events that the services share, and {', '.join(names)}: import them from where they are.",
        f"    with Simulation({', '.join(names)}, {_CLEAR_OF_CHANCE}) as s:",
        *_twice(world, told, world.register.events[:1], start),
        f"        {'saga = ' * outside}s.publish(sample({start}))",
        *(line for action in told for line in _lines(world, told, action)),
    ]
    if breach.invariant == "I6":
        lines.append("        # Assert here that what was done outside, and is not committed, is undone.")
    return "\n".join(lines) + "\n"


def _lines(world: World, actions: list[Action], action: Action) -> Iterator[str]:
    if action.move is None:
        assert isinstance(action.item, int)
        event = world.register.events[action.item]
        kind = type(event.event).__name__
        yield from _twice(world, actions, [event], kind)
        yield f"        s.publish(sample({kind}), saga_id=saga.saga_id)"
        return
    actor = world.actors[action.service]
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
            yield from _twice(world, actions, [event], type(event.event).__name__)
    if isinstance(action.item, tuple):
        yield f"        s.fire({service})"
    elif action.item == END:
        yield f'        s.step({service}, "choreo.ends")'
    else:
        yield f"        s.step({service}, {type(world.register.events[action.item].event).__name__})"
    for attempt in action.move.attempts:
        yield from [f"        s.fire({service})"] * (_tries(actor, attempt) - 1)


def _tries(actor: Actor, attempt: Attempt) -> int:
    """Return how often a handler is tried before its step has come as far as it did here."""
    return actor.rules.handlers[attempt.handler].retry.attempts - attempt.attempt + 1 if attempt.final else 1


def _twice(world: World, actions: list[Action], events: Iterable[Envelope], kind: str) -> Iterator[str]:
    """Yield that an event is to come twice, before it is published."""
    ids = {each.event_id for each in events}
    for action in actions:
        if action.twice and isinstance(action.item, int) and world.register.events[action.item].event_id in ids:
            yield f"        s.duplicate({kind})"


def _name(text: str) -> str:
    return text.replace("-", "_").replace(".", "_")
