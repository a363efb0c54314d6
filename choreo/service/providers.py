"""Providers: what a service makes its handlers' resources with.

Providers are read off their return hints, checked and put in order here, and hints are matched with what they provide;
opening resources is the runtime's. `resolution` reads a service's providers before its handlers.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from choreo.errors import Problem, guess
from choreo.service.context import Context, State
from choreo.service.decorators import WrittenProvider
from choreo.service.hints import Hint, bare, hints_of, inner, is_event, provided, shown

Resource = type[Any]  # A resource may be of any type.
_PER = ("service", "step")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Provider:
    """What makes one resource."""

    type: Resource  # What it provides.
    function: Callable[..., Any]  # As it was written; called with positional arguments, whatever it asks for.
    per: str = "service"  # "service": made once; "step": made anew for every attempt.
    requires: tuple[Resource, ...] = ()  # Types of other providers, for its arguments in order.
    asynchronous: bool = False  # What it returns is awaited, or iterated asynchronously.
    generator: bool = False  # It yields the resource once and cleans up after it.
    place: str = ""  # `file.py:line`.


class _Hinted(NamedTuple):
    """A provider whose hints could be resolved."""

    written: WrittenProvider
    provides: Resource
    hints: dict[str, Hint]


def match(provided_types: Iterable[Resource], hint: Hint) -> Resource | None:
    """Return the provided type that answers a hint: that very type, or the one subclass of it that is provided."""
    candidates = list(provided_types)
    plain = bare(hint)
    for wanted in (hint, plain):
        for candidate in candidates:
            if candidate is wanted or candidate == wanted:
                return candidate
    if not isinstance(plain, type) or plain is object:
        return None
    # A protocol is matched by inheritance too; by structure alone, anything might match.
    derived = [each for each in candidates if isinstance(each, type) and plain in getattr(each, "__mro__", ())]
    return derived[0] if len(derived) == 1 else None


def suggestion(provided_types: Iterable[Resource], hint: Hint, service: str) -> str:
    """Return what to type where nothing answers a hint."""
    otherwise = f"Provide it with @{service}.provides, or take an event, Context or a State."
    return guess(shown(bare(hint)), map(shown, provided_types), otherwise)


def providers_of(service: str, written: Sequence[WrittenProvider]) -> tuple[tuple[Provider, ...], list[Problem]]:
    """Return a service's providers, each behind those it asks for, and what is wrong with them."""
    problems: list[Problem] = []
    by_type: dict[Resource, _Hinted] = {}
    for each in written:
        hinted = _read(service, each, problems)
        if hinted is None:
            continue
        if (known := by_type.setdefault(hinted.provides, hinted)) is not hinted:
            message = f"{service} provides {shown(hinted.provides)} twice, also at {known.written.place}"
            problems.append(Problem("CH051", message, each.place, "Keep one of them."))
    made = {provides: _provider(service, provides, by_type, problems) for provides in by_type}
    return tuple(_in_order(service, made, problems)), problems


def _read(service: str, written: WrittenProvider, problems: list[Problem]) -> _Hinted | None:
    def problem(code: str, message: str, fix: str) -> None:
        problems.append(Problem(code, message, written.place, fix))

    function = inner(written.function)
    if function is None:
        message = f"{service}.provides was given {written.function!r}, which is no function"
        problem("CH013", message, "Decorate a function.")
        return None
    label = f"{service}'s provider {function.__name__}"
    if written.per not in _PER:
        problem("CH055", f"{label} says per={written.per!r}", 'Say per="service" or per="step".')
    try:
        annotations = hints_of(function, written.visible)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        problem("CH003", f"{label}: {error}", "Import the name at the module's top, not only for type checkers.")
        return None
    result: Resource | None = provided(annotations["return"]) if "return" in annotations else None
    plain = bare(result)
    reserved = is_event(plain) or plain is Context or (isinstance(plain, type) and issubclass(plain, State))
    if result is not None and plain is not Any and plain is not type(None) and not reserved and _hashable(result):
        return _Hinted(written, result, annotations)
    what = f"{shown(result)}, which handlers get without it" if reserved else "nothing"
    fix = "Say in its return hint what it provides: -> Gateway, or -> AsyncIterator[Gateway] where it yields."
    problem("CH050", f"{label} provides {what}", fix)
    return None


def _hashable(hint: Hint) -> bool:
    """Return whether a hint can be looked up; what is no type, or is annotated with a list, cannot."""
    try:
        hash(hint)
    except TypeError:
        return False
    return True


def _provider(
    service: str, provides: Resource, by_type: Mapping[Resource, _Hinted], problems: list[Problem]
) -> Provider:
    written, _, annotations = by_type[provides]
    function = written.function
    if getattr(function, "__globals__", None) is vars(contextlib):
        # @contextmanager below @provides says nothing that the generator below it does not.
        function = inspect.unwrap(function)
    label = f"{service}'s provider of {shown(provides)}"
    requires: list[Resource] = []
    for name, parameter in inspect.signature(function).parameters.items():
        needed = match(by_type, annotations[name]) if name in annotations else None
        if needed is not None and parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}:
            requires.append(needed)
            if written.per == "service" and by_type[needed].written.per == "step":
                message = f"{label} lives as long as the service, and the {shown(needed)} it asks for only for a step"
                problems.append(Problem("CH054", message, written.place, 'Say per="step" here too.'))
        elif parameter.default is parameter.empty:
            asked = shown(annotations[name]) if name in annotations else "no type"
            message = f"{label} asks for {name}: {asked}, which {service} does not provide"
            fix = suggestion(by_type, annotations.get(name), service)
            problems.append(Problem("CH053", message, written.place, fix))
    return Provider(
        type=provides,
        function=function,
        per=written.per,
        requires=tuple(requires),
        asynchronous=inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
        generator=inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function),
        place=written.place,
    )


def _in_order(service: str, made: Mapping[Resource, Provider], problems: list[Problem]) -> list[Provider]:
    ordered: list[Provider] = []
    left = dict(made)
    while left:
        ready = [each for each in left.values() if not any(needed in left for needed in each.requires)]
        if not ready:
            message = f"{service}'s providers ask for each other in a circle: {', '.join(map(shown, left))}"
            place = next(iter(left.values())).place
            problems.append(Problem("CH052", message, place, "Let one of them do without the others."))
            break
        ordered += [left.pop(each.type) for each in ready]
    return ordered
