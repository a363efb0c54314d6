"""Resources: what a service provides to its own handlers, found by type.

Reading providers off their hints, matching what is asked for and putting providers in order live here; opening
resources does not (`runtime`). `reading` calls it before it reads the handlers.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from choreo.errors import Problem
from choreo.service.context import Context, State
from choreo.service.decorators import WrittenProvider
from choreo.service.hints import Hint, bare, hints_of, inner, is_event, provided, shown

Kind = type[Any]  # A resource may be of any type.
_PER = ("service", "step")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Provider:
    """What makes one resource.

    Attributes:
        type: What it provides.
        function: As it was written; called with positional arguments.
        per: "service": made once; "step": made anew for every attempt.
        requires: Types of other providers, for its arguments in order.
        asynchronous: What it returns is awaited, or iterated asynchronously.
        generator: It yields the resource once and cleans up after it.
        place: `file.py:line`.
    """

    type: Kind
    function: Callable[..., Any]  # Called with whatever it asks for.
    per: str = "service"
    requires: tuple[Kind, ...] = ()
    asynchronous: bool = False
    generator: bool = False
    place: str = ""


def find(kinds: Iterable[type[Any]], hint: Hint) -> type[Any] | None:
    """Return the provided type that answers a hint: that very type, or the one subclass of it that is provided."""
    kinds = list(kinds)
    for wanted in (hint, bare(hint)):
        for each in kinds:
            if each is wanted or each == wanted:
                return each
    wanted = bare(hint)
    if not isinstance(wanted, type) or wanted is object:
        return None
    # A protocol is found by inheritance too; structure alone would let anything match.
    derived = [each for each in kinds if isinstance(each, type) and wanted in getattr(each, "__mro__", ())]
    return derived[0] if len(derived) == 1 else None


def suggestion(kinds: Iterable[type[Any]], hint: Hint, service: str) -> str:
    """Return what to type where nothing answers a hint."""
    close = get_close_matches(shown(bare(hint)), [shown(each) for each in kinds], 1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Provide it with @{service}.provides, or take an event, Context or a State."


def providers_of(service: str, written: Sequence[WrittenProvider]) -> tuple[tuple[Provider, ...], list[Problem]]:
    """Return a service's providers, each behind those it asks for, and what is wrong with them.

    Args:
        service: Its name.
        written: As they were declared.
    """
    problems: list[Problem] = []
    by_type: dict[type[Any], tuple[WrittenProvider, dict[str, Hint]]] = {}
    for each in written:
        read = _read(service, each, problems)
        if read is None:
            continue
        kind, hints = read
        if kind in by_type:
            message = f"{service} provides {shown(kind)} twice, also at {by_type[kind][0].place}"
            problems.append(Problem("CH051", message, each.place, "Keep one of them."))
            continue
        by_type[kind] = (each, hints)
    made = {kind: _made(service, kind, by_type, problems) for kind in by_type}
    return tuple(_in_order(service, made, problems)), problems


def _read(service: str, written: WrittenProvider, problems: list[Problem]) -> tuple[type[Any], dict[str, Hint]] | None:
    function = inner(written.function)
    if function is None:
        message = f"{service}.provides was given {written.function!r}, which is no function"
        problems.append(Problem("CH013", message, written.place, "Decorate a function."))
        return None
    label = f"{service}'s provider {function.__name__}"
    if written.per not in _PER:
        problems.append(
            Problem("CH055", f"{label} says per={written.per!r}", written.place, 'Say per="service" or per="step".')
        )
    try:
        hints = hints_of(function, written.visible)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        fix = "Import the name at the module's top, not only for type checkers."
        problems.append(Problem("CH003", f"{label}: {error}", written.place, fix))
        return None
    kind = provided(hints["return"]) if "return" in hints else None
    plain = bare(kind)
    reserved = is_event(plain) or plain is Context or (isinstance(plain, type) and issubclass(plain, State))
    if kind is None or plain is Any or plain is type(None) or reserved or not _hashable(kind):
        fix = "Say in its return hint what it provides: -> Gateway, or -> AsyncIterator[Gateway] where it yields."
        what = f"{shown(kind)}, which handlers get without it" if reserved else "nothing"
        problems.append(Problem("CH050", f"{label} provides {what}", written.place, fix))
        return None
    return kind, hints


def _hashable(kind: Hint) -> bool:
    """Return whether a hint can be looked up; what is no type, or is annotated with a list, cannot."""
    try:
        hash(kind)
    except TypeError:
        return False
    return True


def _made(
    service: str,
    kind: type[Any],
    by_type: Mapping[type[Any], tuple[WrittenProvider, dict[str, Hint]]],
    problems: list[Problem],
) -> Provider:
    written, hints = by_type[kind]
    function = written.function
    if getattr(function, "__globals__", None) is vars(contextlib):
        # @contextmanager below @provides says nothing that the generator below it does not.
        function = inspect.unwrap(function)
    label = f"{service}'s provider of {shown(kind)}"
    requires: list[type[Any]] = []
    for name, parameter in inspect.signature(function).parameters.items():
        found = find(by_type, hints[name]) if name in hints else None
        if found is not None and parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}:
            requires.append(found)
            if written.per == "service" and by_type[found][0].per == "step":
                message = f"{label} lives as long as the service, and the {shown(found)} it asks for only for a step"
                problems.append(Problem("CH054", message, written.place, 'Say per="step" here too.'))
        elif parameter.default is parameter.empty:
            asked = shown(hints[name]) if name in hints else "no type"
            message = f"{label} asks for {name}: {asked}, which {service} does not provide"
            fix = suggestion(by_type, hints.get(name), service)
            problems.append(Problem("CH053", message, written.place, fix))
    return Provider(
        type=kind,
        function=function,
        per=written.per,
        requires=tuple(requires),
        asynchronous=inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
        generator=inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function),
        place=written.place,
    )


def _in_order(service: str, made: Mapping[type[Any], Provider], problems: list[Problem]) -> list[Provider]:
    ordered: list[Provider] = []
    left = dict(made)
    while left:
        ready = [each for each in left.values() if not any(need in left for need in each.requires)]
        if not ready:
            told = ", ".join(shown(kind) for kind in left)
            place = next(iter(left.values())).place
            message = f"{service}'s providers ask for each other in a circle: {told}"
            problems.append(Problem("CH052", message, place, "Let one of them do without the others."))
            break
        ordered += [left.pop(each.type) for each in ready]
    return ordered
