"""One decorated function, read into a `Handler`.

What can be told from one function alone lives here: its parameters by annotation, its return hint, its options. What
needs its neighbours does not (`wiring` and `between`). `reading` reads every handler of a service with one reader.
"""

import inspect
import re
import types
from collections.abc import Collection, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, get_args

from choreo.errors import Problem
from choreo.event import Event
from choreo.handler import Handler, Kind, Parameter, Role
from choreo.saga import alternatives
from choreo.service import hints
from choreo.service.context import Context, State
from choreo.service.decorators import WrittenHandler
from choreo.service.hints import Hint, Returned, is_event, shown
from choreo.service.providers import find, suggestion

# It stands in `/service/handler`, in `service.handler` and in comma-separated lists of steps.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_BY_POSITION = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
_EVENT_ROLES = frozenset({Role.EVENT, Role.CAUSE, Role.ORIGINAL, Role.BRANCHES})


class Reader:
    """Reads the handlers of one service and keeps every mistake it meets.

    Args:
        service: Name of the service.
        provided: Types that its providers make.
        written: All its handlers, for what refers to one of them.
    """

    def __init__(
        self,
        service: str,
        provided: Collection[type[Any]],
        written: Sequence[WrittenHandler] = (),
    ) -> None:
        self._service = service
        self._provided = provided
        self._names = {
            id(each.function): each.name
            for each in written
            if each.name is not None and each.kind is not Kind.OTHERWISE
        }
        self.problems: list[Problem] = []
        self.whole = True

    def read(self, written: WrittenHandler) -> Handler | None:
        """Return a handler as far as it can be read; None where its hints cannot be."""
        function = hints.inner(written.function)
        if function is None:
            message = f"{self._service} was given {written.function!r}, which is no function"
            self.problems.append(Problem("CH013", message, written.place, "Decorate a def or an async def."))
            self.whole = False
            return None
        name = written.name if written.name is not None else function.__name__
        one = _One(self, written, f"{self._service}.{name}")
        if not NAME.fullmatch(name):
            one.problem("CH015", "has a name that identities cannot hold", 'Say name="…": letters, digits, _ and -.')
        found = self._hints(one, function)
        if found is None:
            self.whole = False
            return None
        parameters = one.parameters(inspect.signature(written.function), found)
        result = one.returned(found)
        one.check_options(function)
        asynchronous = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        one.check_stream(function, result)
        return Handler(
            name=name,
            service=self._service,
            function=written.function,
            kind=written.kind,
            parameters=tuple(parameters),
            emits=tuple(result.emits),
            outcomes=tuple(result.outcomes),
            unless=one.named("CH016", "unless", written.unless),
            retry=written.retry,
            timeout_s=written.timeout_s,
            thread=written.thread,
            fan_out=result.fan_out,
            opens=frozenset(result.opens - result.plain),
            later=result.later,
            generator=bool(result.stream),
            asynchronous=asynchronous or result.stream == "async" or result.awaitable,
            place=written.place,
            guards=self._guarded(written.guards),
            within=written.within,  # type: ignore[arg-type]  # check_options has judged it.
            awaits=one.named("CH039", "its deadline", written.awaits),
            after_abort=written.after_abort,
        )

    def resource(self, hint: Hint) -> type[Any] | None:
        """Return the provided type that answers a hint."""
        return find(self._provided, hint)

    def suggestion(self, hint: Hint) -> str:
        """Return what to type where nothing answers a hint."""
        return suggestion(self._provided, hint, self._service)

    def _hints(self, one: "_One", function: types.FunctionType) -> dict[str, Hint] | None:
        try:
            return hints.hints_of(function, one.written.visible)
        except NameError as error:
            close = get_close_matches(str(error.name), hints.names_known(function, one.written.visible), 1)
            fix = f"Did you mean {close[0]}?" if close else "Import it at the module's top, not only for type checkers."
            one.problem("CH003", f"has a hint that cannot be resolved: {error}", fix)
        except (TypeError, AttributeError, SyntaxError) as error:
            one.problem("CH003", f"has a hint that cannot be resolved: {error}", "Annotate with types.")
        return None

    def _guarded(self, guards: object) -> str:
        if guards is None or isinstance(guards, str):
            return guards or ""
        return self._names.get(id(guards)) or str(getattr(guards, "__name__", guards))


class _One:
    """One function under reading."""

    def __init__(self, reader: Reader, written: WrittenHandler, label: str) -> None:
        self.reader = reader
        self.written = written
        self.label = label

    def problem(self, code: str, message: str, fix: str) -> None:
        self.reader.problems.append(Problem(code, f"{self.label} {message}", self.written.place, fix))

    def parameters(self, signature: inspect.Signature, found: dict[str, Hint]) -> list[Parameter]:
        """Return the parameters that something is passed for, in order."""
        read: list[Parameter] = []
        left_out = ""
        for each in signature.parameters.values():
            if each.kind not in _BY_POSITION:
                stars = str(each)[: str(each).find(each.name)]
                self.problem("CH008", f"takes {stars}{each.name}", "Name its parameters one by one, without a star.")
                continue
            if each.name not in found:
                if each.default is each.empty:
                    fix = "Annotate it with an event, Context, a State or a provided type."
                    self.problem("CH002", f"does not say what {each.name} is", fix)
                left_out = each.name
                continue
            events = sum(one.role in _EVENT_ROLES for one in read)
            one = self._parameter(each.name, found[each.name], events)
            if one is not None and left_out:
                self.problem("CH008", f"takes {each.name} behind {left_out}, which is left out", "Put it in front.")
            elif one is not None:
                read.append(one)
            elif each.default is not each.empty:
                left_out = each.name
            elif not self._mixed(each.name, found[each.name]):
                message = f"asks for {each.name}: {shown(found[each.name])}, which nobody provides"
                self.problem("CH004", message, self.reader.suggestion(found[each.name]))
        self._check_events(read)
        return read

    def returned(self, found: dict[str, Hint]) -> Returned:
        """Return what the return hint says, with a problem for each thing that it should not."""
        if "return" not in found:
            fix = "Say what it emits: -> PaymentCaptured | PaymentDeclined, or -> None."
            self.problem("CH001", "has no return hint", fix)
            return Returned()
        result = hints.returned(found["return"])
        for each in result.wrong:
            fix = "Return events: A, A | B, tuple[A, B], list[A], Later[A], Iterator[A] or None."
            self.problem("CH006", f"returns {shown(each)}, which is no event", fix)
        result.emits = [each for each in result.emits if self._has_topic(each, "returns")]
        return result

    def check_options(self, function: types.FunctionType) -> None:
        """Judge what was said beside the function."""
        written = self.written
        if written.timeout_s is not None and not written.timeout_s > 0:
            self.problem("CH017", f"says timeout_s={written.timeout_s!r}", "Say how many seconds, above 0.")
        if written.thread and (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
            self.problem("CH018", "is asynchronous and says thread=True", "Leave thread= out, or make it a plain def.")
        if written.kind is not Kind.DEADLINE:
            return
        timed = isinstance(written.within, timedelta) and written.within > timedelta()
        if not timed and not callable(written.within):
            fix = "Say within=timedelta(minutes=5), or within=lambda placed: placed.sla."
            self.problem("CH039", f"is a deadline within {written.within!r}", fix)
        if not alternatives(written.awaits):
            self.problem("CH039", "is a deadline that awaits nothing", "Say which events it waits for.")

    def check_stream(self, function: types.FunctionType, result: Returned) -> None:
        """Judge whether a generator's hint says that it is one, and the other way round."""
        yields = inspect.isgeneratorfunction(function)
        yields_async = inspect.isasyncgenfunction(function)
        named = ", ".join(each.__name__ for each in result.emits) or "…"
        if yields and result.stream != "sync":
            self.problem("CH014", "yields, and its hint does not say so", f"Say -> Iterator[{named}].")
        elif yields_async and result.stream != "async":
            self.problem("CH014", "yields, and its hint does not say so", f"Say -> AsyncIterator[{named}].")
        elif inspect.iscoroutinefunction(function) and (result.stream or result.awaitable):
            self.problem("CH014", "is an async def that does not yield", f"Say -> {named}: what it returns, awaited.")

    def named(self, code: str, what: str, union: object) -> frozenset[type[Event]]:
        """Return the event classes of a union that was given to a decorator."""
        found = [member for each in alternatives(union) for member in hints.members(each)]
        for each in found:
            if not is_event(each):
                self.problem(code, f"names {shown(each)} for {what}, which is no event", "Name event classes: A | B.")
        return frozenset(each for each in found if is_event(each) and self._has_topic(each, "names"))

    def _parameter(self, name: str, hint: Hint, events: int) -> Parameter | None:
        plain = hints.bare(hint)
        kind = self.written.kind
        if hints.origin(plain) is list and all(is_event(each) for each in hints.members(get_args(plain)[0])):
            return Parameter(name, Role.BRANCHES, hints.members(get_args(plain)[0]))
        members = hints.members(plain)
        optional = types.NoneType in members
        named = tuple(each for each in members if each is not types.NoneType)
        if named and all(is_event(each) for each in named):
            role = Role.EVENT
            if kind is Kind.COMPENSATION and events < 2:  # noqa: PLR2004 - the cause, then the original.
                role = (Role.CAUSE, Role.ORIGINAL)[events]
            if optional and (kind is not Kind.COMPENSATION or role is Role.CAUSE):
                fix = "Leave `| None` out: a handler is called when its events have come."
                self.problem("CH010", f"takes {name}: {shown(plain)}", fix)
            return Parameter(name, role, named, optional)
        if plain is Context:
            return Parameter(name, Role.CONTEXT, (Context,))
        if isinstance(plain, type) and issubclass(plain, State):
            return Parameter(name, Role.STATE, (plain,))
        if kind is Kind.OTHERWISE and isinstance(plain, type) and issubclass(plain, BaseException):
            return Parameter(name, Role.ERROR, (plain,))
        resource = self.reader.resource(hint)
        return None if resource is None else Parameter(name, Role.RESOURCE, (resource,))

    def _mixed(self, name: str, hint: Hint) -> bool:
        members = hints.members(hint)
        if not any(is_event(each) for each in members):
            return False
        other = ", ".join(shown(each) for each in members if not is_event(each) and each is not types.NoneType)
        self.problem("CH009", f"takes {name}: events or {other}", "Give what is no event a parameter of its own.")
        return True

    def _check_events(self, read: list[Parameter]) -> None:
        events = [each for each in read if each.role in _EVENT_ROLES]
        for each in events:
            for kind in each.types:
                self._has_topic(kind, "takes")
        written = self.written
        if written.kind is Kind.COMPENSATION:
            if len(events) < 2:  # noqa: PLR2004 - as above.
                missing = "its original" if events else "a cause and an original"
                fix = "Take first why, then which of this service's own events to undo."
                self.problem("CH030", f"undoes nothing: it does not take {missing}", fix)
            return
        if written.kind is Kind.DEADLINE and len(events) != 1:
            fix = "Take the one event that it counts from."
            self.problem("CH039", f"is a deadline with {len(events)} triggers", fix)
        elif not events and written.kind is Kind.FORWARD:
            self.problem(
                "CH005", "takes no event, so nothing would ever call it", "Annotate a parameter with an event."
            )
        seen: set[type[Event]] = set()
        for each in events:
            for kind in seen.intersection(each.types):
                fix = "Take each event once; a join has one parameter for each thing it waits for."
                self.problem("CH011", f"takes {kind.__name__} twice", fix)
            seen.update(each.types)

    def _has_topic(self, kind: type[Event], does: str) -> bool:
        if kind.__choreo_topic__:
            return True
        fix = f'Say class {kind.__name__}(Event, topic="…"), or name the classes below it.'
        self.problem("CH007", f"{does} {kind.__name__}, which has no topic", fix)
        return False
