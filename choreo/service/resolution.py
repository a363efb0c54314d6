"""From what people wrote to declarations, with every mistake told at once.

The order of reading and the version digest live here; the checks themselves do not (`signature`, `provision`,
`wiring`, `between`). Everything that runs, publishes or describes services begins with `declarations`.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from hashlib import sha256

from choreo.errors import DeclarationError, HandlerSignatureError, Problem
from choreo.event import Event
from choreo.handler import Handler, Role
from choreo.saga import Saga
from choreo.schema import avro_schema
from choreo.service.declaration import Declaration
from choreo.service.decorators import Service
from choreo.service.providers import providers_of
from choreo.service.signature import Reader
from choreo.service.validation import owned, problems_between, problems_within, published

VERSION_CHARS = 12
_SIGNATURE_CODES = frozenset(f"CH0{number:02d}" for number in range(1, 19))


def declaration(service: Service) -> Declaration:
    """Return what one service declares.

    Raises:
        DeclarationError: With every mistake at once; retrying does not help.
    """
    return declarations(service)[0]


def declarations(*services: Service) -> list[Declaration]:
    """Return what these services declare, in their order; a service given twice is read once.

    Raises:
        DeclarationError: With every mistake of all of them at once, those between them too; retrying does not help.
    """
    found, problems = _read_all(services)
    if problems:
        one_place = len({problem.place for problem in problems}) == 1
        if one_place and all(problem.code in _SIGNATURE_CODES for problem in problems):
            raise HandlerSignatureError(problems)
        raise DeclarationError(problems)
    return found


def mistakes(*services: Service) -> list[Problem]:
    """Return what is wrong with these services, each and between them: what `declarations` would refuse."""
    return _read_all(services)[1]


def _read_all(services: Sequence[Service]) -> tuple[list[Declaration], list[Problem]]:
    found: list[Declaration] = []
    problems: list[Problem] = []
    for service in dict.fromkeys(services):
        one, wrong = _read_one(service)
        found.append(one)
        problems += wrong
    problems += problems_between(found)
    return found, problems


def _read_one(service: Service) -> tuple[Declaration, list[Problem]]:
    written = service.written
    providers, problems = providers_of(service.name, written.providers)
    reader = Reader(service.name, [each.type for each in providers], written.handlers)
    handlers = [handler for each in written.handlers if (handler := reader.read(each)) is not None]
    problems += reader.problems
    problems += problems_within(service, handlers, whole=reader.whole)
    states = [each.types[0] for handler in handlers for each in handler.parameters if each.role is Role.STATE]
    sagas = owned(service)
    from_outside = published(service)
    found = Declaration(
        name=service.name,
        version=service.version or _digest(service, handlers, sagas, from_outside),
        handlers=tuple(handlers),
        sagas=tuple(sagas),
        providers=providers,
        publishes=from_outside,
        state=states[0] if states else None,
        place=written.place,
    )
    return found, problems


def _digest(
    service: Service, handlers: Sequence[Handler], sagas: Sequence[Saga], from_outside: dict[type[Event], str]
) -> str:
    """Return a version that is the same for the same declaration, on every host, and for no other."""
    named: set[type[Event]] = {*from_outside}
    for each in handlers:
        named.update(each.emits, each.unless, each.awaits, each.causes, each.original, *each.waits_for, *each.extras)
    for saga in sagas:
        named.update((saga.starts, *saga.completes, *saga.fails))
    told = {
        "service": service.name,
        "handlers": sorted((_told(each) for each in handlers), key=str),
        "sagas": sorted([s.name, str(s.key), _name(s.starts), _names(s.completes), _names(s.fails)] for s in sagas),
        "publishes": sorted([_name(kind), by] for kind, by in from_outside.items()),
        "schemas": {_name(kind): avro_schema(kind, _name(kind)) for kind in named if kind.__choreo_type__},
    }
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:VERSION_CHARS]


def _told(handler: Handler) -> list[object]:
    parameters = [[each.role, _names(each.types), each.optional] for each in handler.parameters if each.role in _TOLD]
    options = [_names(handler.emits), _names(handler.unless), _names(handler.awaits), handler.guards, handler.fan_out]
    # A function of the trigger has no text that every host agrees on.
    within = handler.within.total_seconds() if isinstance(handler.within, timedelta) else callable(handler.within)
    return [handler.name, handler.kind, within, parameters, options]


_TOLD = frozenset({Role.EVENT, Role.CAUSE, Role.ORIGINAL, Role.BRANCHES})


def _name(kind: type[Event]) -> str:
    return kind.__choreo_type__ or kind.__name__


def _names(kinds: Iterable[type[Event]]) -> str:
    return "|".join(sorted(_name(kind) for kind in kinds))
