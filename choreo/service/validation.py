"""What is wrong within one service.

The checks that need more than one function and no neighbour live here, as functions from what was read to problems;
those of one function are in `signature`. `reading` calls `problems_within`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from types import MappingProxyType

from choreo.errors import Problem
from choreo.event import Event, Failure
from choreo.handler import Handler, Kind, Role
from choreo.saga import Saga, alternatives
from choreo.service.declaration import Declaration
from choreo.service.decorators import Service
from choreo.service.hints import is_event, shown

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


def problems_within(service: Service, handlers: Sequence[Handler], *, whole: bool) -> list[Problem]:
    """Return what is wrong within one service.

    Args:
        service: As it was written.
        handlers: As far as they could be read.
        whole: All of them could be; otherwise nothing is said to be missing that may be in the others.
    """
    problems = [*_names(service, handlers), *_states(service, handlers)]
    for saga, place in service.written.sagas:
        problems += _saga(service, saga, place)
    problems += _published(service)
    if whole:
        for each in handlers:
            problems += _compensation(service, each, handlers)
            problems += _otherwise(service, each, handlers)
    problems += _unless(handlers)
    return problems


def owned(service: Service) -> list[Saga]:
    """Return the saga types of a service whose events can be relied on."""
    return [
        saga for saga, _ in service.written.sagas if all(map(is_event, (saga.starts, *saga.completes, *saga.fails)))
    ]


def published(service: Service) -> dict[type[Event], str]:
    """Return what a service publishes from outside into running sagas, and who decides about it."""
    from_outside: dict[type[Event], str] = {}
    for named, by, _ in service.written.publishes:
        for each in alternatives(named):
            if is_event(each):
                from_outside[each] = by
    return from_outside


def guess(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return "Did you mean …?" where a known name is close, else what to do instead."""
    close = get_close_matches(name, list(known), 1)
    return f"Did you mean {close[0]}?" if close else otherwise


def _names(service: Service, handlers: Sequence[Handler]) -> Iterator[Problem]:
    place = service.written.place
    if not isinstance(service.name, str) or not NAME.fullmatch(service.name) or len(service.name) > NAME_CHARS_MAX:
        fix = "Use lower-case letters and digits, joined by dots or hyphens: it names a consumer group and two topics."
        yield Problem("CH020", f"Service({service.name!r}) has a name that topics cannot hold", place, fix)
    seen: dict[str, Handler] = {}
    for each in handlers:
        first = seen.setdefault(each.name, each)
        if first is not each:
            message = f"{each.step} is declared twice, also at {first.place}"
            yield Problem("CH021", message, each.place, 'Rename one of them, or say name="…".')
    told: set[str] = set()
    for each in handlers:
        for topic in sorted({kind.__choreo_topic__ for kind in each.emits} - told):
            if _OWN_TOPICS.fullmatch(topic):
                told.add(topic)
                fix = "Choose a topic that does not begin with choreo. or end with .memory or .dlq."
                yield Problem(
                    "CH024", f"{each.step} emits to {topic}, which is one of choreo's own topics", each.place, fix
                )


def _states(service: Service, handlers: Sequence[Handler]) -> Iterator[Problem]:
    found = {
        parameter.types[0]: each for each in handlers for parameter in each.parameters if parameter.role is Role.STATE
    }
    if len(found) > 1:
        told = " and ".join(shown(kind) for kind in found)
        places = next(reversed(found.values())).place
        yield Problem("CH022", f"{service.name} has two states, {told}", places, "Merge them: a service has one State.")
    for kind, each in found.items():
        missing = [name for name, info in kind.model_fields.items() if info.is_required()]
        if missing:
            message = f"{kind.__name__} of {service.name} has no default for {', '.join(missing)}"
            yield Problem("CH023", message, each.place, "Give every field a default: a saga begins with them.")


def _saga(service: Service, saga: Saga, place: str) -> Iterator[Problem]:
    label = f"saga {saga.name!r} of {service.name}"
    if not isinstance(saga.name, str) or not SAGA_NAME.fullmatch(saga.name):
        fix = "Use letters, digits, dots, hyphens and underscores: it stands in saga ids and headers."
        yield Problem("CH046", f"{label} has a name that identities cannot hold", place, fix)
    yield from _saga_events(label, saga, place)
    if not saga.completes:
        yield Problem(
            "CH041", f"{label} never completes", place, "Say completes=: without it no service could forget it."
        )
    if not is_event(saga.starts):
        return
    fields = saga.starts.model_fields
    if saga.key is not None and saga.key not in fields:
        message = f"{label}: key={saga.key!r} is no field of {saga.starts.__name__}"
        yield Problem("CH042", message, place, guess(str(saga.key), fields, f"Name one of {', '.join(fields)}."))


def _saga_events(label: str, saga: Saga, place: str) -> Iterator[Problem]:
    parts = {"starts": (saga.starts,), "completes": saga.completes, "fails": saga.fails}
    for part, kinds in parts.items():
        for kind in kinds:
            if not is_event(kind) or not kind.__choreo_topic__:
                message = f"{label}: {part} names {shown(kind)}, which is no event with a topic"
                yield Problem("CH040", message, place, 'Name an event class: class OrderPlaced(Event, topic="orders").')
    for kind in sorted({kind for kind in saga.completes if kind in (saga.starts, *saga.fails)}, key=shown):
        message = f"{label}: completes names {shown(kind)}, which also starts or fails it"
        yield Problem("CH047", message, place, "Give each its own event.")
    if saga.starts in saga.fails:
        message = f"{label}: {shown(saga.starts)} both starts and fails it"
        yield Problem("CH047", message, place, "Give each its own event.")
    for kind in saga.completes:
        if is_event(kind) and issubclass(kind, Failure):
            yield Problem("CH047", f"{label} completes with the failure {shown(kind)}", place, "Name it in fails=.")


def _published(service: Service) -> Iterator[Problem]:
    ends = {kind for saga in owned(service) for kind in (*saga.completes, *saga.fails)}
    for named, _, place in service.written.publishes:
        for kind in alternatives(named):
            if not is_event(kind) or not kind.__choreo_topic__:
                message = f"{service.name} publishes {shown(kind)}, which is no event with a topic"
                yield Problem("CH025", message, place, "Name event classes: publishes(A, B).")
            elif kind in ends:
                fix = (
                    f"Publish what was decided as an event of its own, and let a handler turn it into {kind.__name__}."
                )
                message = f"{service.name} publishes {kind.__name__} from outside, which ends a saga"
                yield Problem("CH026", message, place, fix)


def _compensation(service: Service, each: Handler, handlers: Sequence[Handler]) -> Iterator[Problem]:
    if each.kind is not Kind.COMPENSATION:
        return
    originals = sorted(each.original, key=lambda kind: kind.__name__)
    if len(originals) > 1:
        told = " | ".join(kind.__name__ for kind in originals)
        fix = "Write one compensation for each of them."
        yield Problem("CH031", f"{each.step} undoes {told}, and a compensation undoes one event", each.place, fix)
    from_outside = {*published(service), *(saga.starts for saga in owned(service))}
    own = from_outside | {kind for one in handlers for kind in one.emits}
    for kind in originals:
        makers = [one for one in handlers if kind in one.emits]
        if kind not in own:
            message = f"{each.step} undoes {kind.__name__}, which {service.name} does not emit"
            fix = guess(
                kind.__name__, [one.__name__ for one in own], "A service undoes what it did itself, and nothing else."
            )
            yield Problem("CH032", message, each.place, fix)
        elif kind not in from_outside and all(one.kind is Kind.COMPENSATION for one in makers):
            message = f"{each.step} undoes {kind.__name__}, which is itself a compensation's event"
            yield Problem(
                "CH033", message, each.place, "Undo a forward step's event; a compensation is not compensated."
            )
        elif each.original_optional and (len(makers) != 1 or makers[0].kind is not Kind.FORWARD):
            told = ", ".join(one.name for one in makers) or "none"
            message = f"{each.step} takes {kind.__name__} | None, and must know the one handler that emits it: {told}"
            fix = "Let exactly one handler emit it, or leave `| None` out."
            yield Problem("CH034", message, each.place, fix)
    for kind in sorted(each.causes & {*each.original, *each.emits}, key=lambda kind: kind.__name__):
        message = f"{each.step} is caused by {kind.__name__}, which it undoes or emits itself"
        yield Problem("CH035", message, each.place, "Name failures, or other compensations' events, as causes.")


def _otherwise(service: Service, each: Handler, handlers: Sequence[Handler]) -> Iterator[Problem]:
    if each.kind is not Kind.OTHERWISE:
        return
    steps = {one.name: one for one in handlers if one.kind is not Kind.OTHERWISE}
    guarded = steps.get(each.guards)
    if guarded is None:
        message = f"{each.step} stands in for {each.guards or 'nothing'}, which is no handler of {service.name}"
        yield Problem(
            "CH037", message, each.place, guess(each.guards, steps, f"Name one of {', '.join(steps) or 'them'}.")
        )
        return
    others = [one for one in handlers if one.kind is Kind.OTHERWISE and one.guards == each.guards]
    if others[0] is not each:
        message = f"{each.step} stands in for {guarded.name}, as {others[0].name} does"
        yield Problem("CH037", message, each.place, "Keep one of them.")
    given = {kind for parameter in guarded.parameters for kind in parameter.types}
    for parameter in each.parameters:
        strange = [shown(kind) for kind in parameter.types if kind not in given]
        if parameter.role in {Role.EVENT, Role.BRANCHES} and strange:
            message = f"{each.step} takes {', '.join(strange)}, and {guarded.name} has no such event to pass on"
            yield Problem("CH038", message, each.place, f"Take events that {guarded.name} takes, or error: Exception.")


def _unless(handlers: Sequence[Handler]) -> Iterator[Problem]:
    undone = {kind: one for one in handlers if one.kind is Kind.COMPENSATION for kind in one.original}
    for each in handlers:
        if each.unless and (undoes := next((undone[kind] for kind in each.emits if kind in undone), None)):
            message = f"{each.step} says unless=, and has the compensation {undoes.name}"
            fix = f"Name those events as causes of {undoes.name} instead: a cause that comes first cancels the step."
            yield Problem("CH036", message, each.place, fix)


def problems_between(found: Sequence[Declaration]) -> list[Problem]:
    """Return what no two services may declare."""
    return [*_same_service(found), *_same_event(found), *_same_saga(found), *_foreign_ends(found)]


def _same_service(found: Sequence[Declaration]) -> Iterator[Problem]:
    seen: dict[str, Declaration] = {}
    for each in found:
        first = seen.setdefault(each.name, each)
        if first is not each:
            message = f"two services are called {each.name}, the other one at {first.place}"
            yield Problem("CH060", message, each.place, "Rename one: the name is the consumer group.")


def _same_event(found: Sequence[Declaration]) -> Iterator[Problem]:
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


def _same_saga(found: Sequence[Declaration]) -> Iterator[Problem]:
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


def _foreign_ends(found: Sequence[Declaration]) -> Iterator[Problem]:
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
