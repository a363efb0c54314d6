"""What no two services may declare.

Checks that need several services live here: names used twice, owners. What only looks wrong does not, for the service
on the other end may be run elsewhere: that is told by `lints`. No check of a single service lives here.
"""

from collections.abc import Iterator, Sequence

from choreo.errors import Problem
from choreo.event import Event
from choreo.saga import Saga
from choreo.service.declaration import Declaration


def problems_between(found: Sequence[Declaration]) -> list[Problem]:
    """Return what no two services may declare."""
    return [*_services(found), *_classes(found), *_owners(found), *_ends(found)]


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
