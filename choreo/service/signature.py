"""Decorated functions, read into handlers.

A function's parameters, return hint and options are read and checked here, one function at a time; what needs two of
them is `validation`'s. `resolution` calls `handlers_of` once a service.
"""

import inspect
import re
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, get_args

from choreo.errors import Problem, guess
from choreo.event import Event
from choreo.handler import EVENT_ROLES, Handler, Kind, Parameter, Role
from choreo.saga import alternatives
from choreo.service import hints
from choreo.service.context import Context, State
from choreo.service.decorators import WrittenHandler
from choreo.service.hints import Hint, Returned, is_event, shown
from choreo.service.providers import match, suggestion

# A name stands in `/service/handler`, in `service.handler` and in comma-separated lists of steps.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_BY_POSITION = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
_COMPENSATION_ROLES = (Role.CAUSE, Role.ORIGINAL)


def handlers_of(
    service: str, written: Sequence[WrittenHandler], provided: Collection[type[Any]]
) -> tuple[list[Handler], list[Problem]]:
    """Return a service's handlers, but for those whose hints cannot be read, and what is wrong with each."""
    problems: list[Problem] = []
    renamed = {
        id(each.function): each.name for each in written if each.name is not None and each.kind is not Kind.OTHERWISE
    }
    signatures = [_Signature(service, each, provided, renamed, problems, label=service) for each in written]
    return [handler for each in signatures if (handler := each.read()) is not None], problems


@dataclass(slots=True)
class _Signature:
    """One decorated function; what is wrong with it is added to `problems`."""

    service: str
    written: WrittenHandler
    provided: Collection[type[Any]]
    renamed: Mapping[int, str]
    problems: list[Problem]
    label: str

    def read(self) -> Handler | None:
        """Return the handler; None where its hints cannot be read."""
        written = self.written
        function = hints.inner(written.function)
        if function is None:
            self._problem("CH013", f"was given {written.function!r}, which is no function", "Decorate a function.")
            return None
        name = written.name if written.name is not None else function.__name__
        self.label = f"{self.service}.{name}"
        if not NAME.fullmatch(name):
            self._problem("CH015", "has a name that identities cannot hold", 'Say name="…": letters, digits, _ and -.')
        annotations = self._annotations(function)
        if annotations is None:
            return None
        parameters = self._parameters(inspect.signature(written.function), annotations)
        result = self._returned(annotations)
        asynchronous = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        self._check_options(asynchronous=asynchronous)
        self._check_stream(function, result)
        return Handler(
            name=name,
            service=self.service,
            function=written.function,
            kind=written.kind,
            parameters=tuple(parameters),
            emits=tuple(result.emits),
            outcomes=tuple(result.outcomes),
            unless=self._named("CH016", "unless", written.unless),
            retry=written.retry,
            timeout_s=written.timeout_s,
            thread=written.thread,
            fan_out=result.fan_out,
            opens=frozenset(result.opens - result.plain),
            later=result.later,
            generator=bool(result.stream),
            asynchronous=asynchronous or result.stream == "async" or result.awaitable,
            place=written.place,
            guards=self._guarded(),
            within=written.within,  # type: ignore[arg-type]  # _check_options has judged it.
            awaits=self._named("CH039", "its deadline", written.awaits),
            after_abort=written.after_abort,
        )

    def _problem(self, code: str, message: str, fix: str) -> None:
        self.problems.append(Problem(code, f"{self.label} {message}", self.written.place, fix))

    def _annotations(self, function: types.FunctionType) -> dict[str, Hint] | None:
        try:
            return hints.hints_of(function, self.written.visible)
        except NameError as error:
            around = {**function.__globals__, **self.written.visible}
            known = sorted(name for name, each in around.items() if is_event(each))
            fix = guess(str(error.name), known, "Import it at the module's top, not only for type checkers.")
            self._problem("CH003", f"has a hint that cannot be resolved: {error}", fix)
        except (TypeError, AttributeError, SyntaxError) as error:
            self._problem("CH003", f"has a hint that cannot be resolved: {error}", "Annotate with types.")
        return None

    def _parameters(self, signature: inspect.Signature, annotations: dict[str, Hint]) -> list[Parameter]:
        """Return the parameters that something is passed for, in order."""
        read: list[Parameter] = []
        left_out = ""
        for name, declared in signature.parameters.items():
            if declared.kind not in _BY_POSITION:
                stars = str(declared)[: str(declared).find(name)]
                self._problem("CH008", f"takes {stars}{name}", "Name its parameters one by one, without a star.")
                continue
            if name not in annotations:
                if declared.default is declared.empty:
                    fix = "Annotate it with an event, Context, a State or a provided type."
                    self._problem("CH002", f"does not say what {name} is", fix)
                left_out = name
                continue
            parameter = self._parameter(name, annotations[name], sum(each.role in EVENT_ROLES for each in read))
            if parameter is not None and left_out:
                self._problem("CH008", f"takes {name} behind {left_out}, which is left out", "Put it in front.")
            elif parameter is not None:
                read.append(parameter)
            elif declared.default is not declared.empty:
                left_out = name
            else:
                self._unanswered(name, annotations[name])
        self._check_events(read)
        return read

    def _parameter(self, name: str, hint: Hint, events_before: int) -> Parameter | None:
        """Return what is passed for a hint; None where nothing is."""
        plain = hints.bare(hint)
        kind = self.written.kind
        if hints.origin(plain) is list and all(is_event(each) for each in hints.members(get_args(plain)[0])):
            return Parameter(name, Role.BRANCHES, hints.members(get_args(plain)[0]))
        members = hints.members(plain)
        optional = types.NoneType in members
        event_types = tuple(each for each in members if each is not types.NoneType)
        if event_types and all(is_event(each) for each in event_types):
            compensation = kind is Kind.COMPENSATION and events_before < len(_COMPENSATION_ROLES)
            role = _COMPENSATION_ROLES[events_before] if compensation else Role.EVENT
            if optional and (kind is not Kind.COMPENSATION or role is Role.CAUSE):
                fix = "Leave `| None` out: a handler is called when its events have come."
                self._problem("CH010", f"takes {name}: {shown(plain)}", fix)
            return Parameter(name, role, event_types, optional)
        if plain is Context:
            return Parameter(name, Role.CONTEXT, (Context,))
        if isinstance(plain, type) and issubclass(plain, State):
            return Parameter(name, Role.STATE, (plain,))
        if kind is Kind.OTHERWISE and isinstance(plain, type) and issubclass(plain, BaseException):
            return Parameter(name, Role.ERROR, (plain,))
        resource = match(self.provided, hint)
        return None if resource is None else Parameter(name, Role.RESOURCE, (resource,))

    def _unanswered(self, name: str, hint: Hint) -> None:
        members = hints.members(hint)
        if any(is_event(each) for each in members):
            other = ", ".join(shown(each) for each in members if not is_event(each) and each is not types.NoneType)
            self._problem("CH009", f"takes {name}: events or {other}", "Give what is no event a parameter of its own.")
        else:
            fix = suggestion(self.provided, hint, self.service)
            self._problem("CH004", f"asks for {name}: {shown(hint)}, which nobody provides", fix)

    def _check_events(self, parameters: list[Parameter]) -> None:
        events = [each for each in parameters if each.role in EVENT_ROLES]
        for parameter in events:
            for event_type in parameter.types:
                self._has_topic(event_type, "takes")
        kind = self.written.kind
        if kind is Kind.COMPENSATION:
            if len(events) < len(_COMPENSATION_ROLES):
                missing = "its original" if events else "a cause and an original"
                fix = "Take first why, then which of this service's own events to undo."
                self._problem("CH030", f"undoes nothing: it does not take {missing}", fix)
            return
        if kind is Kind.DEADLINE and len(events) != 1:
            self._problem("CH039", f"is a deadline with {len(events)} triggers", "Take the one event it counts from.")
        elif kind is Kind.FORWARD and not events:
            fix = "Annotate a parameter with an event."
            self._problem("CH005", "takes no event, so nothing would ever call it", fix)
        seen: set[type[Event]] = set()
        for parameter in events:
            for event_type in seen.intersection(parameter.types):
                fix = "Take each event once; a join has one parameter for each thing it waits for."
                self._problem("CH011", f"takes {event_type.__name__} twice", fix)
            seen.update(parameter.types)

    def _has_topic(self, event_type: type[Event], does: str) -> bool:
        if event_type.__choreo_topic__:
            return True
        fix = f'Say class {event_type.__name__}(Event, topic="…"), or name the classes below it.'
        self._problem("CH007", f"{does} {event_type.__name__}, which has no topic", fix)
        return False

    def _returned(self, annotations: dict[str, Hint]) -> Returned:
        if "return" not in annotations:
            fix = "Say what it emits: -> PaymentCaptured | PaymentDeclined, or -> None."
            self._problem("CH001", "has no return hint", fix)
            return Returned()
        result = hints.returned(annotations["return"])
        for other in result.wrong:
            fix = "Return events: A, A | B, tuple[A, B], list[A], Later[A], Iterator[A] or None."
            self._problem("CH006", f"returns {shown(other)}, which is no event", fix)
        result.emits = [each for each in result.emits if self._has_topic(each, "returns")]
        return result

    def _check_options(self, *, asynchronous: bool) -> None:
        written = self.written
        if written.timeout_s is not None and not written.timeout_s > 0:
            self._problem("CH017", f"says timeout_s={written.timeout_s!r}", "Say how many seconds, above 0.")
        if written.thread and asynchronous:
            self._problem("CH018", "is asynchronous and says thread=True", "Leave thread= out, or make it a plain def.")
        if written.kind is not Kind.DEADLINE:
            return
        timed = isinstance(written.within, timedelta) and written.within > timedelta()
        if not timed and not callable(written.within):
            fix = "Say within=timedelta(minutes=5), or within=lambda placed: placed.sla."
            self._problem("CH039", f"is a deadline within {written.within!r}", fix)
        if not alternatives(written.awaits):
            self._problem("CH039", "is a deadline that awaits nothing", "Say which events it waits for.")

    def _check_stream(self, function: types.FunctionType, result: Returned) -> None:
        """Check whether a generator's hint says that it is one, and the other way round."""
        emitted = ", ".join(each.__name__ for each in result.emits) or "…"
        if inspect.isgeneratorfunction(function) and result.stream != "sync":
            self._problem("CH014", "yields, and its hint does not say so", f"Say -> Iterator[{emitted}].")
        elif inspect.isasyncgenfunction(function) and result.stream != "async":
            self._problem("CH014", "yields, and its hint does not say so", f"Say -> AsyncIterator[{emitted}].")
        elif inspect.iscoroutinefunction(function) and (result.stream or result.awaitable):
            fix = f"Say -> {emitted}: what it returns, awaited."
            self._problem("CH014", "is an async def that does not yield", fix)

    def _named(self, code: str, option: str, union: object) -> frozenset[type[Event]]:
        """Return the event classes of a union that was given to a decorator."""
        members = [member for each in alternatives(union) for member in hints.members(each)]
        for other in members:
            if not is_event(other):
                message = f"names {shown(other)} for {option}, which is no event"
                self._problem(code, message, "Name event classes: A | B.")
        return frozenset(each for each in members if is_event(each) and self._has_topic(each, "names"))

    def _guarded(self) -> str:
        """Return the name of the handler that an otherwise stands in for."""
        guards = self.written.guards
        if guards is None or isinstance(guards, str):
            return guards or ""
        return self.renamed.get(id(guards)) or str(getattr(guards, "__name__", guards))
