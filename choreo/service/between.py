"""What is wrong, or looks wrong, between services.

Checks that need several services live here: names used twice, owners, events that nobody emits or handles. `reading`
raises for `problems_between` and only tells `warnings_between`: the service on the other end may be run elsewhere.
No check of a single service lives here.
"""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from choreo.errors import Problem
from choreo.event import Event, Failure
from choreo.handler import Kind
from choreo.saga import Saga
from choreo.service.declaration import Declaration


def problems_between(found: Sequence[Declaration]) -> list[Problem]:
    """Return what no two services may declare."""
    return [*_services(found), *_classes(found), *_owners(found), *_ends(found)]


def warnings_between(found: Sequence[Declaration]) -> list[Problem]:
    """Return what looks wrong where these are all the services there are."""
    emitted = {kind for each in found for kind in each.emits}
    outside = {kind for each in found for kind in (*each.publishes, *(saga.starts for saga in each.sagas))}
    handled = {kind for each in found for kind in each.consumes}
    undoing = {kind for each in found for one in each.handlers if one.kind is Kind.COMPENSATION for kind in one.emits}
    problems: list[Problem] = []
    for each in found:
        problems += _unemitted(each, emitted | outside)
        problems += _misnamed(each, handled, emitted | outside)
        problems += _unhandled(each, handled)
        problems += _causes(each, undoing)
        problems += _incomplete(each)
    fans_out = any(one.fan_out for each in found for one in each.handlers)
    gathering = [one for each in found for one in each.handlers if one.fan_in]
    if not fans_out:
        problems += [
            Problem(
                "CH062", f"{one.step} gathers branches, and no handler returns a list", one.place, "Return list[…]."
            )
            for one in gathering
        ]
    return problems


def _services(found: Sequence[Declaration]) -> Iterator[Problem]:
    seen: dict[str, Declaration] = {}
    for each in found:
        first = seen.setdefault(each.name, each)
        if first is not each:
            message = f"two services are called {each.name}, the other one at {first.place}"
            yield Problem("CH060", message, each.place, "Rename one: the name is the consumer group.")


def _classes(found: Sequence[Declaration]) -> Iterator[Problem]:
    seen: dict[str, type[Event]] = {}
    told: set[type[Event]] = set()
    for each in found:
        for kind in each.event_types:
            first = seen.setdefault(kind.__choreo_type__, kind)
            # One without a topic has no type name, and has been told of where it is used.
            if first is not kind and kind not in told and kind.__choreo_type__:
                told.add(kind)
                message = f"{kind.__choreo_type__} is {_where(first)} and {_where(kind)}"
                yield Problem("CH061", message, each.place, "Share one class, or give one of them another name=.")


def _where(kind: type[Event]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _owners(found: Sequence[Declaration]) -> Iterator[Problem]:
    names: dict[str, str] = {}
    starts: dict[type[Event], Saga] = {}
    for each in found:
        for saga in each.sagas:
            if saga.name in names:
                message = f"saga type {saga.name} is owned by {names[saga.name]} and again by {each.name}"
                yield Problem("CH044", message, each.place, "Keep one of them: a saga type has one owner.")
            elif saga.starts in starts:
                message = f"{saga.starts.__name__} starts {starts[saga.starts].name} and {saga.name}"
                yield Problem("CH043", message, each.place, "Give each saga type a starting event of its own.")
            names.setdefault(saga.name, each.name)
            starts.setdefault(saga.starts, saga)


def _ends(found: Sequence[Declaration]) -> Iterator[Problem]:
    ends: dict[type[Event], tuple[Declaration, Saga]] = {}
    for each in found:
        for saga in each.sagas:
            ends |= dict.fromkeys((*saga.completes, *saga.fails), (each, saga))
    for each in found:
        for one in each.handlers:
            for kind in one.emits:
                if kind in ends and ends[kind][0].name != each.name:
                    owner, saga = ends[kind]
                    message = f"{one.step} emits {kind.__name__}, which ends {saga.name}, owned by {owner.name}"
                    fix = f"Emit an event of {each.name}'s own, and let {owner.name} turn it into {kind.__name__}."
                    yield Problem("CH045", message, one.place, fix)


def _unemitted(each: Declaration, emitted: Iterable[type[Event]]) -> Iterator[Problem]:
    known = set(emitted)
    for one in each.handlers:
        wanted = {kind for types in (*one.waits_for, one.causes, *one.extras) for kind in types}
        for kind in _sorted(wanted - known):
            close = get_close_matches(kind.__name__, [other.__name__ for other in known], 1)
            fix = f"Did you mean {close[0]}?" if close else "Check it together with the service that emits it."
            yield Problem("CH070", f"{one.step} handles {kind.__name__}, which nobody emits", one.place, fix)


def _misnamed(each: Declaration, handled: set[type[Event]], emitted: set[type[Event]]) -> Iterator[Problem]:
    """Yield events that nobody handles while one of nearly that name is awaited in vain: a slip, most likely."""
    awaited = [kind.__name__ for kind in handled - emitted]
    for one in each.handlers:
        for kind in one.emits:
            close = get_close_matches(kind.__name__, awaited, 1) if kind not in handled else []
            if close:
                message = f"{one.step} returns {kind.__name__}, which nobody handles."
                yield Problem("CH012", message, one.place, f"Did you mean {close[0]}?")


def _unhandled(each: Declaration, handled: set[type[Event]]) -> Iterator[Problem]:
    for kind in _sorted(set(each.publishes) - handled):
        message = f"{each.name} publishes {kind.__name__}, which nobody handles"
        yield Problem("CH071", message, each.place, "Check it together with the service that handles it.")


def _causes(each: Declaration, undoing: set[type[Event]]) -> Iterator[Problem]:
    for one in each.handlers:
        for kind in _sorted(one.causes - undoing):
            if not issubclass(kind, Failure):
                message = f"{one.step} is caused by {kind.__name__}, which is no failure and no compensation's event"
                fix = f"Make it a failure: class {kind.__name__}(Failure, …)."
                yield Problem("CH072", message, one.place, fix)


def _incomplete(each: Declaration) -> Iterator[Problem]:
    for saga in each.sagas:
        if saga.completes and not each.emits.intersection(saga.completes):
            told = " | ".join(kind.__name__ for kind in saga.completes)
            message = f"no handler of {each.name} emits {told}, so saga {saga.name} never completes"
            yield Problem("CH073", message, each.place, "Write the handler that does.")


def _sorted(kinds: Iterable[type[Event]]) -> list[type[Event]]:
    return sorted(kinds, key=lambda kind: kind.__choreo_type__)
