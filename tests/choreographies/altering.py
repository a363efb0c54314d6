"""Choreographies with something changed.

A change makes services out of services: they are rebuilt from what was written about them, with a handler gone, or
hinted, called or done otherwise. Which changes break what is not said here (`mutants`).
"""

import types
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Any, get_args, get_origin

from choreo import Event, Saga, Service
from choreo.manifest import Manifest
from choreo.service import declarations
from choreo.service.decorators import WrittenHandler

Services = tuple[Service, ...]
Change = Callable[[Services], Services]
Declare = Callable[[Service], object]


def without(*steps: str) -> Change:
    """Leave handlers out."""
    return both(*(_each(step, lambda _: []) for step in steps))


def hinted(step: str, **hints: Any) -> Change:
    """Let a handler's parameters, or what it `returns`, be of other types; its body stays."""
    changed = {"return" if name == "returns" else name: hint for name, hint in hints.items()}

    def change(written: WrittenHandler) -> list[WrittenHandler]:
        known = written.function.__annotations__
        assert changed.keys() <= known.keys(), f"{step} has only {', '.join(known)}"
        return [replace(written, function=_annotated(written.function, known | changed))]

    return _each(step, change)


def called(step: str, **options: object) -> Change:
    """Say something else beside a handler: `unless`, `awaits`, `within`, `after_abort`."""
    return _each(step, lambda written: [replace(written, **options)])


def instead(step: str, function: Callable[..., Any]) -> Change:
    """Put another function in a handler's place, under its name."""
    name = step.partition(".")[2]
    return _each(step, lambda written: [replace(written, function=function, name=name)])


def also(service: str, declare: Declare) -> Change:
    """Have a service declare more."""

    def change(services: Services) -> Services:
        [found] = [each for each in services if each.name == service]
        grown = _rebuilt(found, found.written.handlers)
        declare(grown)
        return tuple(grown if each is found else each for each in services)

    return change


def owning(**fields: Any) -> Change:
    """Let the saga types start, complete or fail with something else."""

    def change(services: Services) -> Services:
        changed = []
        for each in services:
            copy = _rebuilt(each, each.written.handlers)
            copy.written.sagas = [(_saga(saga, fields), place) for saga, place in each.written.sagas]
            changed.append(copy)
        return tuple(changed)

    return change


def exchanged(old: type[Event], new: type[Event], *, only: str = "") -> Change:
    """Let handlers, of all services or of one, name another event in the place of one."""

    def change(services: Services) -> Services:
        swap = {old: new}
        changed = []
        for each in services:
            handlers = each.written.handlers if only and each.name != only else _swapped(each, swap)
            copy = _rebuilt(each, handlers)
            copy.written.publishes = [(_swap(kind, swap), by, at) for kind, by, at in each.written.publishes]
            changed.append(copy)
        return tuple(changed)

    return change


def both(*changes: Change) -> Change:
    """Make one change after the other."""
    return lambda services: reduce(lambda changed, change: change(changed), changes, services)


def manifests(services: Services, alter: Callable[[Manifest], Manifest]) -> list[Manifest]:
    """Return what services announce, altered: for what no single process could declare."""
    return [alter(Manifest.of(each)) for each in declarations(*services)]


def _each(step: str, change: Callable[[WrittenHandler], list[WrittenHandler]]) -> Change:
    service, _, name = step.partition(".")

    def changed(services: Services) -> Services:
        found = [each for each in services if each.name == service]
        hits = [each for one in found for each in one.written.handlers if _name(each) == name]
        assert len(hits) == 1, f"there is no {step}"
        [hit] = hits
        handlers = [each for one in found[0].written.handlers for each in (change(one) if one is hit else [one])]
        return tuple(_rebuilt(each, handlers) if each is found[0] else each for each in services)

    return changed


def _rebuilt(service: Service, handlers: Iterable[WrittenHandler]) -> Service:
    copy = Service(service.name, version=service.version)
    written = service.written
    copy.written = replace(
        written,
        handlers=list(handlers),
        providers=list(written.providers),
        sagas=list(written.sagas),
        publishes=list(written.publishes),
    )
    return copy


def _name(written: WrittenHandler) -> str:
    return written.name or str(getattr(written.function, "__name__", ""))


def _annotated(function: Callable[..., Any], annotations: dict[str, Any]) -> Callable[..., Any]:
    assert isinstance(function, types.FunctionType)
    copy = types.FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    copy.__annotations__ = annotations
    return copy


def _saga(saga: Saga, fields: dict[str, Any]) -> Saga:
    known = {"starts": saga.starts, "completes": saga.completes, "fails": saga.fails, "key": saga.key}
    return Saga(saga.name, **(known | fields))


def _swapped(service: Service, swap: dict[object, object]) -> list[WrittenHandler]:
    return [
        replace(
            each,
            function=_annotated(
                each.function, {name: _swap(hint, swap) for name, hint in each.function.__annotations__.items()}
            ),
            unless=_swap(each.unless, swap),
            awaits=_swap(each.awaits, swap),
        )
        for each in service.written.handlers
    ]


def _swap(hint: Any, swap: dict[object, object]) -> Any:
    made_from, members = get_origin(hint), get_args(hint)
    if not members:
        return swap.get(hint, hint) if isinstance(hint, type) else hint
    swapped = tuple(_swap(each, swap) for each in members)
    return reduce(or_, swapped) if made_from is types.UnionType else made_from[swapped]
