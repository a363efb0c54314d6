"""From what people wrote to declarations, with every mistake told at once.

The order of reading and the version digest live here; the checks are in `signature`, `providers` and `validation`.
Everything that runs, publishes or describes services begins with `declarations`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256

from choreo.errors import DeclarationError, HandlerSignatureError, Problem
from choreo.event import Event
from choreo.handler import EVENT_ROLES, Handler, Role
from choreo.schema import avro_schema
from choreo.service.declaration import Declaration
from choreo.service.decorators import Service
from choreo.service.providers import providers_of
from choreo.service.signature import handlers_of
from choreo.service.validation import owned, problems_between, problems_within, published

VERSION_CHARS = 12
_SIGNATURE_CODES = frozenset(f"CH0{number:02d}" for number in range(1, 19))


def declarations(*services: Service) -> list[Declaration]:
    """Return what these services declare, in their order; a service given twice is read once.

    Raises:
        DeclarationError: With every mistake of all of them at once, those between them too; retrying does not help.
    """
    resolved, problems = _resolve_all(services)
    if problems:
        one_place = len({problem.place for problem in problems}) == 1
        if one_place and all(problem.code in _SIGNATURE_CODES for problem in problems):
            raise HandlerSignatureError(problems)
        raise DeclarationError(problems)
    return resolved


def mistakes(*services: Service) -> list[Problem]:
    """Return what is wrong with these services, each and between them: what `declarations` would refuse."""
    return _resolve_all(services)[1]


def _resolve_all(services: Sequence[Service]) -> tuple[list[Declaration], list[Problem]]:
    problems: list[Problem] = []
    resolved = [_resolve(service, problems) for service in dict.fromkeys(services)]
    problems += problems_between(resolved)
    return resolved, problems


def _resolve(service: Service, problems: list[Problem]) -> Declaration:
    written = service.written
    providers, wrong_providers = providers_of(service.name, written.providers)
    handlers, wrong_handlers = handlers_of(service.name, written.handlers, [each.type for each in providers])
    problems += wrong_providers + wrong_handlers
    problems += problems_within(service, handlers, complete=len(handlers) == len(written.handlers))
    states = [each.types[0] for handler in handlers for each in handler.parameters if each.role is Role.STATE]
    resolved = Declaration(
        name=service.name,
        version=service.version or "",
        handlers=tuple(handlers),
        sagas=tuple(owned(service)),
        providers=providers,
        publishes=published(service),
        state=states[0] if states else None,
        place=written.place,
    )
    return resolved if resolved.version else replace(resolved, version=_digest(resolved))


def _digest(service: Declaration) -> str:
    """Return a version that is the same for the same declaration, on every host, and for no other."""
    sagas = service.sagas
    content = {
        "service": service.name,
        "handlers": sorted((_handler_content(each) for each in service.handlers), key=str),
        "sagas": sorted([s.name, str(s.key), _name(s.starts), _names(s.completes), _names(s.fails)] for s in sagas),
        "publishes": sorted([_name(event_type), by] for event_type, by in service.publishes.items()),
        "schemas": {
            _name(each): avro_schema(each, _name(each)) for each in service.event_types if each.__choreo_type__
        },
    }
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:VERSION_CHARS]


def _handler_content(handler: Handler) -> list[object]:
    parameters = [
        [each.role, _names(each.types), each.optional] for each in handler.parameters if each.role in EVENT_ROLES
    ]
    options = [_names(handler.emits), _names(handler.unless), _names(handler.awaits), handler.guards, handler.fan_out]
    # A function of the trigger has no text that every host agrees on.
    within = callable(handler.within) if handler.within_s is None else handler.within_s
    return [handler.name, handler.kind, within, parameters, options]


def _name(event_type: type[Event]) -> str:
    return event_type.__choreo_type__ or event_type.__name__


def _names(event_types: Iterable[type[Event]]) -> str:
    return "|".join(sorted(map(_name, event_types)))
