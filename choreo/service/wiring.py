"""What is wrong within one service.

The checks that need more than one function and no neighbour live here, as functions from what was read to problems;
those of one function are in `signature`. `reading` calls `problems_within`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from choreo.errors import Problem
from choreo.event import Event, Failure
from choreo.handler import Handler, Kind, Role
from choreo.saga import Saga, alternatives
from choreo.service.hints import is_event, shown
from choreo.service.service import Service

NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
SAGA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NAME_CHARS_MAX = 200
_OWN_TOPICS = re.compile(r"choreo\..*|.*\.(memory|dlq)")


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


def _alternatives(named: object) -> tuple[type[Event], ...]:
    return Saga("", starts=Event, completes=named).completes  # type: ignore[arg-type]  # Judged by the callers.
