"""The decorators of a `Service`.

They collect what people write, and check nothing: that happens at first use, in `resolution`. Users call them when
their modules are imported.
"""

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeVar, overload

from choreo.handler import Kind
from choreo.retry import Retry
from choreo.saga import EventUnion, Saga

F = TypeVar("F", bound=Callable[..., Any])
Function = Callable[..., Any]  # Whatever a person decorates; its type comes back unchanged.
Per = Literal["service", "step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenHandler:
    """One decorated function, as it was written."""

    function: Function
    kind: Kind
    place: str
    name: str | None = None
    retry: Retry = field(default_factory=Retry)
    timeout_s: float | None = None
    thread: bool = False
    unless: object = None
    guards: object = None
    awaits: object = None
    within: object = None
    after_abort: bool = False
    visible: Mapping[str, object] = field(default_factory=dict)  # Names around, for annotations that are strings.


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenProvider:
    """One decorated provider, as it was written."""

    function: Function
    per: str
    place: str
    visible: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Written:
    """All that was declared of one service, in order."""

    place: str
    handlers: list[WrittenHandler] = field(default_factory=list)
    providers: list[WrittenProvider] = field(default_factory=list)
    sagas: list[tuple[Saga, str]] = field(default_factory=list)
    publishes: list[tuple[object, str, str]] = field(default_factory=list)


class Service:
    """A named list of handlers: one consumer group, which shares nothing but events with other services.

    Decorators return the function unchanged, so that a plain unit test can call it. They refuse nothing: at first use
    every mistake is raised at once, as `DeclarationError.problems`.

    Args:
        name: Lower-case letters, digits, dots and hyphens; it names the consumer group and two topics.
        version: Of what it declares; a digest of it unless given.
    """

    __slots__ = ("name", "version", "written")

    def __init__(self, name: str, *, version: str | None = None) -> None:
        self.name = name
        self.version = version
        self.written = Written(_place(_caller()))

    def __repr__(self) -> str:
        return f"Service({self.name!r})"

    def owns(self, saga: Saga) -> None:
        """Declare a saga type of which this service is the owner: its handlers end it."""
        self.written.sagas.append((saga, _place(_caller())))

    def publishes(self, *events: EventUnion, by: str = "") -> None:
        """Declare events that come from outside into a running saga, through a `Publisher` of this service.

        Args:
            events: Event types.
            by: Who decides about them, as people read it: "a manager".
        """
        place = _place(_caller())
        self.written.publishes += [(event, by, place) for event in events]

    @overload
    def provides(self, function: F, /) -> F: ...

    @overload
    def provides(self, function: None = None, /, *, per: Per = "service") -> Callable[[F], F]: ...

    def provides(self, function: Function | None = None, /, *, per: Per = "service") -> Any:  # The overloads say what.
        """Provide a resource to this service's handlers, found by the type that the return hint names.

        The function may be plain, asynchronous, or a generator that yields the resource once and cleans up after it. It
        may ask for other resources.

        Args:
            function: What makes the resource.
            per: "service": made once, before the first event; "step": made anew for every attempt of a step.
        """
        frame = _caller()

        def decorate(function: F) -> F:
            place, visible = _place_of(function, frame), _visible(function, frame)
            self.written.providers.append(WrittenProvider(function=function, per=per, place=place, visible=visible))
            return function

        return decorate if function is None else decorate(function)

    @overload
    def handles(self, function: F, /) -> F: ...

    @overload
    def handles(
        self,
        function: None = None,
        /,
        *,
        retry: Retry | None = None,
        timeout_s: float | None = None,
        thread: bool = False,
        unless: EventUnion | None = None,
        name: str | None = None,
    ) -> Callable[[F], F]: ...

    def handles(
        self,
        function: Function | None = None,
        /,
        *,
        retry: Retry | None = None,
        timeout_s: float | None = None,
        thread: bool = False,
        unless: EventUnion | None = None,
        name: str | None = None,
    ) -> Any:  # The overloads say what.
        """Declare a forward step: once per event for one event parameter, a join for several.

        Args:
            function: What to do; its parameters take events, its return hint names those it emits.
            retry: What happens when it raises; five attempts, then the step is parked.
            timeout_s: Longest attempt, in seconds.
            thread: It blocks: call it in a thread, off the event loop.
            unless: Do not run it if one of these events came first.
            name: Its identity; the function's name unless given. Keep it when the function is renamed.
        """
        options = {"retry": retry, "timeout_s": timeout_s, "thread": thread, "unless": unless, "name": name}
        decorate = self._decorator(Kind.FORWARD, _caller(), **options)
        return decorate if function is None else decorate(function)

    @overload
    def compensates(self, function: F, /) -> F: ...

    @overload
    def compensates(
        self,
        function: None = None,
        /,
        *,
        retry: Retry | None = None,
        timeout_s: float | None = None,
        thread: bool = False,
        name: str | None = None,
    ) -> Callable[[F], F]: ...

    def compensates(
        self,
        function: Function | None = None,
        /,
        *,
        retry: Retry | None = None,
        timeout_s: float | None = None,
        thread: bool = False,
        name: str | None = None,
    ) -> Any:  # The overloads say what.
        """Declare what undoes one of this service's events.

        The first event parameter is the cause: failures, or events of other compensations. The second is the original
        that is undone; with `| None` it also runs where that step's outcome is unknown. Further ones are the causes of
        the step undone.

        Args:
            function: What to do.
            retry: What happens when it raises; when its retries are spent, the saga is stuck.
            timeout_s: Longest attempt, in seconds.
            thread: It blocks: call it in a thread, off the event loop.
            name: Its identity; the function's name unless given.
        """
        options = {"retry": retry, "timeout_s": timeout_s, "thread": thread, "name": name}
        decorate = self._decorator(Kind.COMPENSATION, _caller(), **options)
        return decorate if function is None else decorate(function)

    def otherwise(
        self, handler: Function | str, /, *, retry: Retry | None = None, name: str | None = None
    ) -> Callable[[F], F]:
        """Declare what a step emits when its retries are spent and its outcome is unknown.

        Args:
            handler: The handler that it stands in for, or its name.
            retry: What happens when this one raises.
            name: Its identity; the function's name unless given.
        """
        return self._decorator(Kind.OTHERWISE, _caller(), retry=retry, name=name, guards=handler)

    def deadline(
        self,
        awaits: EventUnion,
        /,
        *,
        within: timedelta | Callable[..., timedelta],
        after_abort: bool = False,
        retry: Retry | None = None,
        name: str | None = None,
    ) -> Callable[[F], F]:
        """Declare what happens when none of these events has come in time.

        Args:
            awaits: Events, one of which is awaited.
            within: Time from the `ce_time` of the handler's own event, or a function of that event that returns it.
            after_abort: It fires even after the saga has failed.
            retry: What happens when it raises.
            name: Its identity; the function's name unless given.
        """
        options = {"retry": retry, "name": name, "awaits": awaits, "within": within, "after_abort": after_abort}
        return self._decorator(Kind.DEADLINE, _caller(), **options)

    def _decorator(self, kind: Kind, frame: FrameType, **options: Any) -> Callable[[F], F]:  # WrittenHandler's fields.
        options["retry"] = options["retry"] if options["retry"] is not None else Retry()

        def decorate(function: F) -> F:
            place, visible = _place_of(function, frame), _visible(function, frame)
            self.written.handlers.append(
                WrittenHandler(function=function, kind=kind, place=place, visible=visible, **options)
            )
            return function

        return decorate


def _caller() -> FrameType:
    """Return the frame that called the function that calls this one."""
    frame = inspect.currentframe()
    assert frame is not None, "CPython and PyPy both have frames"
    assert frame.f_back is not None
    return frame.f_back.f_back or frame.f_back


def _place(frame: FrameType) -> str:
    return f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"


def _place_of(function: object, frame: FrameType) -> str:
    code = getattr(function, "__code__", None)
    return f"{_short(code.co_filename)}:{code.co_firstlineno}" if isinstance(code, types.CodeType) else _place(frame)


def _short(file: str) -> str:
    """Return a path as a person in this folder would write it."""
    path = Path(file)
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


def _visible(function: object, frame: FrameType) -> Mapping[str, object]:
    """Return the names around a decorator, where annotations are strings that may need them.

    An event class that is defined in a test function is not global, and a string does not close over it.
    """
    if frame.f_locals is frame.f_globals:
        return {}
    try:
        annotations = getattr(function, "__annotations__", {})
    except NameError:
        # From Python 3.14 on annotations are evaluated when asked for: too early here, in time at first use.
        return {}
    return dict(frame.f_locals) if any(_is_text(each) for each in annotations.values()) else {}


def _is_text(annotation: object) -> bool:
    return isinstance(annotation, str) or any(_is_text(each) for each in getattr(annotation, "__args__", ()))
