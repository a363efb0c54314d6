"""Type hints, taken apart.

Annotations are resolved here, and split into unions, tuples, lists, generators and `Later`; what a hint means to a
handler is `signature`'s, and to a provider `providers`'.
"""

import collections.abc
import inspect
import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice, product
from typing import Annotated, Any, Never, NoReturn, Union, get_args, get_origin, get_type_hints

from choreo.event import Event
from choreo.handler import Emission
from choreo.service.context import Later

Hint = Any  # What a person wrote behind a colon or an arrow.
OUTCOMES_MAX = 256  # Outcomes that are told apart; a tuple of unions multiplies them.

_STREAMS = {collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator}
_ASYNC_STREAMS = {collections.abc.AsyncIterator, collections.abc.AsyncIterable, collections.abc.AsyncGenerator}
_AWAITABLES = {collections.abc.Awaitable, collections.abc.Coroutine}


@dataclass(slots=True)
class Returned:
    """What a return hint says."""

    emits: list[type[Event]] = field(default_factory=list)  # Event classes, in the order they are named.
    wrong: list[Hint] = field(default_factory=list)  # What it names that is no event.
    fan_out: bool = False  # It names a list.
    opens: set[type[Event]] = field(default_factory=set)  # Event classes that it names within a list.
    plain: set[type[Event]] = field(default_factory=set)  # Event classes that it names outside of lists.
    later: bool = False  # It names a `Later`.
    stream: str = ""  # "sync" or "async" for generators, else "".
    awaitable: bool = False  # It names an awaitable.
    outcomes: list[tuple[Emission, ...]] = field(default_factory=list)  # What may be returned, one of them each time.


def origin(hint: Hint) -> Any:  # `typing` says ParamSpec, and means any class.
    """Return what a hint is made from: `list` for `list[A]`, None where it is not made from anything."""
    return get_origin(hint)


def inner(function: Callable[..., Any]) -> types.FunctionType | None:  # Any function at all.
    """Return the function that was written, below decorators and methods; None where there is none."""
    written = inspect.unwrap(function)
    written = getattr(written, "__func__", written)
    return written if isinstance(written, types.FunctionType) else None


def hints_of(function: types.FunctionType, visible: Mapping[str, object]) -> dict[str, Hint]:
    """Return a function's annotations, with strings resolved.

    `visible` are names around it that it does not close over, as far as they were known when it was decorated.

    Raises:
        NameError: If a name in an annotation is not known; `name` says which.
        TypeError: If an annotation makes no sense.
        SyntaxError: If a string is no annotation.
    """
    names = dict(visible)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        # A cell is empty while what it names is not defined yet; then the annotation cannot mean it either.
        with suppress(ValueError):
            names[name] = cell.cell_contents
    return get_type_hints(function, function.__globals__, names, include_extras=True)


def bare(hint: Hint) -> Hint:
    """Return a hint without `Annotated` and `type` aliases around it."""
    while True:
        if origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint


def members(hint: Hint) -> tuple[Hint, ...]:
    """Return what a union names, `NoneType` for None; a hint that is no union is its only member."""
    hint = bare(hint)
    if isinstance(hint, types.UnionType) or origin(hint) is Union:
        return tuple(each for member in get_args(hint) for each in members(member))
    return (types.NoneType,) if hint is None else (hint,)


def is_event(hint: Hint) -> bool:
    """Tell whether a hint is an event class."""
    return isinstance(hint, type) and not isinstance(hint, types.GenericAlias) and issubclass(hint, Event)


def shown(hint: Hint) -> str:
    """Return a hint as a person would write it."""
    if hint is types.NoneType:
        return "None"
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        return hint.__name__
    return str(hint).replace("typing.", "")


def returned(hint: Hint) -> Returned:
    """Take a handler's return hint apart."""
    result = Returned()
    hint = bare(hint)
    if origin(hint) in _AWAITABLES:
        result.awaitable = True
        hint = bare((get_args(hint) or (Any,))[-1])
    made_from = origin(hint)
    if made_from in _STREAMS or made_from in _ASYNC_STREAMS:
        result.stream = "sync" if made_from in _STREAMS else "async"
        hint = (get_args(hint) or (Any,))[0]
    result.outcomes = _outcomes(hint, result)
    result.emits = list(dict.fromkeys(result.emits))
    if result.stream:
        # It may yield anything any number of times: nothing, one of each kind, or all of them stand for that.
        result.outcomes = list(dict.fromkeys([(), *result.outcomes, tuple(chain.from_iterable(result.outcomes))]))
    return result


def provided(hint: Hint) -> Hint:
    """Return what a provider's return hint provides: what is yielded, awaited or returned."""
    made_from = origin(bare(hint))
    if made_from in _AWAITABLES:
        return (get_args(bare(hint)) or (Any,))[-1]
    if made_from in _STREAMS or made_from in _ASYNC_STREAMS:
        return (get_args(bare(hint)) or (Any,))[0]
    return hint


def _outcomes(hint: Hint, result: Returned, *, in_list: bool = False) -> list[tuple[Emission, ...]]:
    """Return what a hint allows to be returned, each once, in the order it is written; note what it names."""
    outcomes: list[tuple[Emission, ...]] = []
    for member in members(hint):
        made_from, arguments = origin(member), get_args(member)
        if is_event(member):
            result.emits.append(member)
            (result.opens if in_list else result.plain).add(member)
            outcomes.append((Emission((member,)),))
        elif member is types.NoneType:
            outcomes.append(())
        elif made_from is tuple:
            parts = [_outcomes(part, result) for part in arguments if part is not Ellipsis]
            if parts and Ellipsis in arguments:
                outcomes.append(())
            outcomes += [tuple(chain.from_iterable(choice)) for choice in islice(product(*parts), OUTCOMES_MAX)]
        elif made_from is list:
            result.fan_out = True
            _outcomes(arguments[0], result, in_list=True)
            outcomes.append((Emission(tuple(filter(is_event, members(arguments[0]))), opens=True),))
        elif made_from is Later:
            result.later = True
            _outcomes(arguments[0], result)
            outcomes += [(Emission((each,), later=True),) for each in members(arguments[0]) if is_event(each)]
        elif member is not Never and member is not NoReturn:
            result.wrong.append(member)
    return list(dict.fromkeys(outcomes))[:OUTCOMES_MAX]
