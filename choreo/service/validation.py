"""What a service may not declare, and what no two services may.

The table of codes, and the checks that need more than one function, each a generator of problems; those of one function
are in `signature` and `providers`. What only looks wrong, since the other service may run elsewhere, is `choreo
check`'s. `resolution` calls this.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from choreo.errors import Problem, guess
from choreo.event import Event, Failure, short
from choreo.handler import Handler, Kind, Role
from choreo.saga import Saga, alternatives
from choreo.service.declaration import Declaration
from choreo.service.decorators import Service
from choreo.service.hints import is_event, shown

T = TypeVar("T")
NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
SAGA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NAME_CHARS_MAX = 200
_OWN_TOPICS = re.compile(r"choreo\..*|.*\.(memory|dlq)")

CODES = MappingProxyType(
    {
        # One function.
        "CH001": "A handler has no return hint",
        "CH002": "A parameter has no type hint",
        "CH003": "A type hint cannot be resolved",
        "CH004": "A parameter asks for something that nobody provides",
        "CH005": "A handler takes no event",
        "CH006": "A handler returns something that is no event",
        "CH007": "An event class has no topic",
        "CH008": "A parameter cannot be passed by position",
        "CH009": "A parameter mixes events with something else",
        "CH010": "An event parameter may be None where it never is",
        "CH011": "Two parameters of a join take the same event",
        "CH013": "What is decorated is not a function",
        "CH014": "A generator and its return hint do not fit",
        "CH015": "A handler's name cannot be used",
        "CH016": "unless names something that is no event",
        "CH017": "timeout_s is not a time",
        "CH018": "thread=True on an asynchronous handler",
        # One service.
        "CH020": "A service's name cannot be used",
        "CH021": "Two handlers have one name",
        "CH022": "A service has two State classes",
        "CH023": "A State field has no default",
        "CH024": "An event's topic is one of choreo's own",
        "CH025": "A service publishes something that is no event",
        "CH026": "An event that ends a saga is published from outside",
        # Compensations and what stands in for a step.
        "CH030": "A compensation takes no cause or no original",
        "CH031": "A compensation takes several originals",
        "CH032": "An original is not an event of its service",
        "CH033": "An original is a compensation's own event",
        "CH034": "An optional original has not exactly one handler that emits it",
        "CH035": "A compensation is caused by what it undoes or emits",
        "CH036": "unless stands on a handler with a compensation",
        "CH037": "otherwise names no handler of its service",
        "CH038": "An otherwise takes something that its handler does not",
        "CH039": "A deadline cannot be understood",
        # Sagas.
        "CH040": "A saga starts, completes or fails with something that is no event",
        "CH041": "A saga has no completes",
        "CH042": "A saga's key is no field of its start",
        "CH043": "An event starts two saga types",
        "CH044": "A saga type is declared twice",
        "CH045": "An event that ends a saga is emitted by a service that does not own it",
        "CH046": "A saga's name cannot be used",
        "CH047": "An event means two things to one saga",
        # Resources.
        "CH050": "A provider does not say what it provides",
        "CH051": "Two providers provide one type",
        "CH052": "Providers ask for each other in a circle",
        "CH053": "A provider asks for something that nobody provides",
        "CH054": "A resource of the service asks for one of a step",
        "CH055": "per= is neither service nor step",
        # Several services.
        "CH060": "Two services have one name",
        "CH061": "Two event classes have one type name",
    }
)
"""Code → title."""


class SagaClaims(NamedTuple):
    """Which sagas a service owns, and what its handlers emit, by the events' full names."""

    service: str  # Its name.
    place: str  # `file.py:line`.
    sagas: Sequence[tuple[str, str, Sequence[str]]]  # Of each saga type its name, its start and its ends.
    steps: Sequence[tuple[str, str, Sequence[str]]]  # Of each handler its step, its place and what it emits.


def problems_within(service: Service, handlers: Sequence[Handler], *, complete: bool) -> Iterator[Problem]:
    """Return what is wrong within one service, by those of its handlers that could be read.

    Unless these are `complete`, nothing is said to be missing that the others may have.
    """
    yield from _names(service, handlers)
    yield from _states(service, handlers)
    for saga, place in service.written.sagas:
        yield from _saga(f"saga {saga.name!r} of {service.name}", saga, place)
    yield from _published(service)
    for handler in handlers if complete else ():
        if handler.kind is Kind.COMPENSATION:
            yield from _compensation(service, handler, handlers)
        elif handler.kind is Kind.OTHERWISE:
            yield from _otherwise(service, handler, handlers)
    yield from _unless(handlers)


def problems_between(declarations: Sequence[Declaration]) -> Iterator[Problem]:
    """Return what no two of these services may declare."""
    yield from _names_between(declarations)
    yield from claim_problems([_claims(declaration) for declaration in declarations])


def claim_problems(services: Sequence[SagaClaims]) -> Iterator[Problem]:
    """Return where services claim one saga type, one start, or each other's ends."""
    claims = [(name, starts, each) for each in services for name, starts, _ in each.sagas]
    for (name, _, first), (_, _, other) in _doubles(claims, lambda claim: claim[0]):
        message = f"saga type {name} is owned by {first.service} and again by {other.service}"
        yield Problem("CH044", message, other.place, "Keep one of them: a saga type has one owner.")
    for (name, starts, _), (other_name, _, other) in _doubles(claims, lambda claim: claim[1]):
        if name != other_name:
            message = f"{short(starts)} starts {name} and {other_name}"
            yield Problem("CH043", message, other.place, "Give each saga type a starting event of its own.")
    yield from _ends_of_others(services)


def _ends_of_others(services: Sequence[SagaClaims]) -> Iterator[Problem]:
    ends: dict[str, list[tuple[str, str]]] = {}
    for each in services:
        for name, _, named in each.sagas:
            for end in named:
                ends.setdefault(end, []).append((each.service, name))
    for each in services:
        for step, place, emitted in each.steps:
            for end in emitted:
                for owner, saga in ends.get(end, ()):
                    if owner != each.service:
                        message = f"{step} emits {short(end)}, which ends {saga}, owned by {owner}"
                        fix = f"Emit an event of {each.service}'s own, and let {owner} turn it into {short(end)}."
                        yield Problem("CH045", message, place, fix)


def owned(service: Service) -> list[Saga]:
    """Return the saga types of a service that name events only."""
    sagas = [saga for saga, _ in service.written.sagas]
    return [saga for saga in sagas if all(map(is_event, (saga.starts, *saga.completes, *saga.fails)))]


def published(service: Service) -> dict[type[Event], str]:
    """Return what a service publishes from outside into running sagas, and who decides about it."""
    return {
        event_type: by
        for union, by, _ in service.written.publishes
        for event_type in alternatives(union)
        if is_event(event_type)
    }


def _names(service: Service, handlers: Sequence[Handler]) -> Iterator[Problem]:
    if not isinstance(service.name, str) or not NAME.fullmatch(service.name) or len(service.name) > NAME_CHARS_MAX:
        message = f"Service({service.name!r}) has a name that topics cannot hold"
        fix = "Use lower-case letters and digits, joined by dots or hyphens: it names a consumer group and two topics."
        yield Problem("CH020", message, service.written.place, fix)
    for first, handler in _doubles(handlers, lambda each: each.name):
        message = f"{handler.step} is declared twice, also at {first.place}"
        yield Problem("CH021", message, handler.place, 'Rename one of them, or say name="…".')
    emitters = {event_type.__choreo_topic__: each for each in reversed(handlers) for event_type in each.emits}
    for topic in sorted(filter(_OWN_TOPICS.fullmatch, emitters)):
        message = f"{emitters[topic].step} emits to {topic}, which is one of choreo's own topics"
        fix = "Choose a topic that does not begin with choreo. or end with .memory or .dlq."
        yield Problem("CH024", message, emitters[topic].place, fix)


def _states(service: Service, handlers: Sequence[Handler]) -> Iterator[Problem]:
    users = {
        parameter.types[0]: handler
        for handler in handlers
        for parameter in handler.parameters
        if parameter.role is Role.STATE
    }
    if len(users) > 1:
        message = f"{service.name} has two states, {' and '.join(map(shown, users))}"
        place = next(reversed(users.values())).place
        yield Problem("CH022", message, place, "Merge them: a service has one State.")
    for state, handler in users.items():
        missing = [name for name, info in state.model_fields.items() if info.is_required()]
        if missing:
            message = f"{state.__name__} of {service.name} has no default for {', '.join(missing)}"
            yield Problem("CH023", message, handler.place, "Give every field a default: a saga begins with them.")


def _saga(label: str, saga: Saga, place: str) -> Iterator[Problem]:
    if not isinstance(saga.name, str) or not SAGA_NAME.fullmatch(saga.name):
        fix = "Use letters, digits, dots, hyphens and underscores: it stands in saga ids and headers."
        yield Problem("CH046", f"{label} has a name that identities cannot hold", place, fix)
    yield from _saga_events(label, saga, place)
    if not saga.completes:
        fix = "Say completes=: without it no service could forget it."
        yield Problem("CH041", f"{label} never completes", place, fix)
    if is_event(saga.starts) and saga.key is not None and saga.key not in saga.starts.model_fields:
        message = f"{label}: key={saga.key!r} is no field of {saga.starts.__name__}"
        fields = saga.starts.model_fields
        yield Problem("CH042", message, place, guess(str(saga.key), fields, f"Name one of {', '.join(fields)}."))


def _saga_events(label: str, saga: Saga, place: str) -> Iterator[Problem]:
    for part, named in (("starts", (saga.starts,)), ("completes", saga.completes), ("fails", saga.fails)):
        for event_type in named:
            if not is_event(event_type) or not event_type.__choreo_topic__:
                message = f"{label}: {part} names {shown(event_type)}, which is no event with a topic"
                yield Problem("CH040", message, place, 'Name an event class: class OrderPlaced(Event, topic="orders").')
    for event_type in sorted((each for each in saga.completes if each in (saga.starts, *saga.fails)), key=shown):
        message = f"{label}: completes names {shown(event_type)}, which also starts or fails it"
        yield Problem("CH047", message, place, "Give each its own event.")
    if saga.starts in saga.fails:
        message = f"{label}: {shown(saga.starts)} both starts and fails it"
        yield Problem("CH047", message, place, "Give each its own event.")
    for event_type in saga.completes:
        if is_event(event_type) and issubclass(event_type, Failure):
            message = f"{label} completes with the failure {shown(event_type)}"
            yield Problem("CH047", message, place, "Name it in fails=.")


def _published(service: Service) -> Iterator[Problem]:
    ends = {event_type for saga in owned(service) for event_type in (*saga.completes, *saga.fails)}
    for union, _, place in service.written.publishes:
        for event_type in alternatives(union):
            if not is_event(event_type) or not event_type.__choreo_topic__:
                message = f"{service.name} publishes {shown(event_type)}, which is no event with a topic"
                yield Problem("CH025", message, place, "Name event classes: publishes(A, B).")
            elif event_type in ends:
                name = event_type.__name__
                message = f"{service.name} publishes {name} from outside, which ends a saga"
                fix = f"Publish what was decided as an event of its own, and let a handler turn it into {name}."
                yield Problem("CH026", message, place, fix)


def _compensation(service: Service, handler: Handler, handlers: Sequence[Handler]) -> Iterator[Problem]:
    originals = sorted(handler.original, key=shown)
    if len(originals) > 1:
        message = f"{handler.step} undoes {' | '.join(map(shown, originals))}, and a compensation undoes one event"
        yield Problem("CH031", message, handler.place, "Write one compensation for each of them.")
    from_outside = {*published(service), *(saga.starts for saga in owned(service))}
    own = from_outside | {event_type for each in handlers for event_type in each.emits}
    for original in originals:
        name = original.__name__
        emitters = [each for each in handlers if original in each.emits]
        if original not in own:
            message = f"{handler.step} undoes {name}, which {service.name} does not emit"
            fix = guess(name, map(shown, own), "A service undoes what it did itself, and nothing else.")
            yield Problem("CH032", message, handler.place, fix)
        elif original not in from_outside and all(each.kind is Kind.COMPENSATION for each in emitters):
            message = f"{handler.step} undoes {name}, which is itself a compensation's event"
            fix = "Undo a forward step's event; a compensation is not compensated."
            yield Problem("CH033", message, handler.place, fix)
        elif handler.original_optional and [each.kind for each in emitters] != [Kind.FORWARD]:
            known = ", ".join(each.name for each in emitters) or "none"
            message = f"{handler.step} takes {name} | None, and must know the one handler that emits it: {known}"
            fix = "Let exactly one handler emit it, or leave `| None` out."
            yield Problem("CH034", message, handler.place, fix)
    for cause in sorted(handler.causes & {*handler.original, *handler.emits}, key=shown):
        message = f"{handler.step} is caused by {cause.__name__}, which it undoes or emits itself"
        yield Problem("CH035", message, handler.place, "Name failures, or other compensations' events, as causes.")


def _otherwise(service: Service, handler: Handler, handlers: Sequence[Handler]) -> Iterator[Problem]:
    steps = {each.name: each for each in handlers if each.kind is not Kind.OTHERWISE}
    guarded = steps.get(handler.guards)
    if guarded is None:
        message = f"{handler.step} stands in for {handler.guards or 'nothing'}, which is no handler of {service.name}"
        fix = guess(handler.guards, steps, f"Name one of {', '.join(steps) or 'them'}.")
        yield Problem("CH037", message, handler.place, fix)
        return
    first = next(each for each in handlers if each.kind is Kind.OTHERWISE and each.guards == handler.guards)
    if first is not handler:
        message = f"{handler.step} stands in for {guarded.name}, as {first.name} does"
        yield Problem("CH037", message, handler.place, "Keep one of them.")
    taken = {event_type for parameter in guarded.parameters for event_type in parameter.types}
    for parameter in handler.parameters:
        strange = [shown(event_type) for event_type in parameter.types if event_type not in taken]
        if parameter.role in {Role.EVENT, Role.BRANCHES} and strange:
            message = f"{handler.step} takes {', '.join(strange)}, and {guarded.name} has no such event to pass on"
            fix = f"Take events that {guarded.name} takes, or error: Exception."
            yield Problem("CH038", message, handler.place, fix)


def _unless(handlers: Sequence[Handler]) -> Iterator[Problem]:
    undoers = {
        original: handler for handler in handlers if handler.kind is Kind.COMPENSATION for original in handler.original
    }
    for handler in handlers:
        undoer = next((undoers[event_type] for event_type in handler.emits if event_type in undoers), None)
        if handler.unless and undoer:
            message = f"{handler.step} says unless=, and has the compensation {undoer.name}"
            fix = f"Name those events as causes of {undoer.name} instead: a cause that comes first cancels the step."
            yield Problem("CH036", message, handler.place, fix)


def _names_between(declarations: Sequence[Declaration]) -> Iterator[Problem]:
    for first, other in _doubles(declarations, lambda each: each.name):
        message = f"two services are called {other.name}, the other one at {first.place}"
        yield Problem("CH060", message, other.place, "Rename one: the name is the consumer group.")
    # A class without a topic has no name; CH007 or CH040 says so where it is used.
    users = {kind: each for each in reversed(declarations) for kind in each.event_types if kind.__choreo_type__}
    order = dict.fromkeys(kind for each in declarations for kind in each.event_types if kind in users)
    for first_type, other_type in _doubles(order, lambda kind: kind.__choreo_type__):
        message = f"{other_type.__choreo_type__} is {_path(first_type)} and {_path(other_type)}"
        yield Problem("CH061", message, users[other_type].place, "Share one class, or give one another name=.")


def _path(event_type: type[Event]) -> str:
    return f"{event_type.__module__}.{event_type.__qualname__}"


def _claims(declaration: Declaration) -> SagaClaims:
    def name(event_type: type[Event]) -> str:
        return event_type.__choreo_type__ or _path(event_type)

    return SagaClaims(
        declaration.name,
        declaration.place,
        [(saga.name, name(saga.starts), [*map(name, (*saga.completes, *saga.fails))]) for saga in declaration.sagas],
        [(handler.step, handler.place, [*map(name, handler.emits)]) for handler in declaration.handlers],
    )


def _doubles(items: Iterable[T], key: Callable[[T], object]) -> Iterator[tuple[T, T]]:
    """Yield each item whose key an earlier item has, behind the first that has it."""
    firsts: dict[object, T] = {}
    for item in items:
        first = firsts.setdefault(key(item), item)
        if first is not item:
            yield first, item
