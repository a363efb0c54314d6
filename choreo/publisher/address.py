"""Which saga an event from outside belongs to, and under which ids it travels.

What R1 says about starts, business keys and generations lives here; no I/O does. `event_publisher` asks before
anything is encoded.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypedDict

from choreo.errors import DeclarationError, Problem, guess
from choreo.event import Envelope, Event, saga_id_for, start_event_id, uuid7
from choreo.saga import Saga
from choreo.service import Declaration

EVENT_ID_BYTES_MAX = 64


class Where(TypedDict, total=False):
    """Where an event goes, beyond what follows from the event itself.

    Attributes:
        saga_id: The running saga.
        key: Business key of the running saga, instead of its id; of the saga to start, where `Saga` names no field.
        saga: Name of the saga type that `key` belongs to, where a service has several or none.
        branch: Branch of the running saga, as `ctx.branch` said it; "" is the root.
        generation: Counted from 1; 2 repeats a finished saga of the same key.
        event_id: The event's identity, up to 64 bytes; the same id again is the same event. A UUIDv7 unless given.
        connection: Not supported yet: must be None.
    """

    saga_id: str
    key: str
    saga: str
    branch: str
    generation: int
    event_id: str
    connection: object


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be published from outside."""

    starts: Mapping[type[Event], tuple[Saga, str]]  # By starting type: the saga and the service that owns it.
    publishes: Mapping[type[Event], str]  # By type: the service that declares it.
    sagas: Mapping[str, Saga]  # All saga types here, by name.
    emitters: Mapping[type[Event], Sequence[str]]  # By type: the handlers that emit it, for saying who can.

    @property
    def types(self) -> list[type[Event]]:
        """All types that may be published, by name."""
        return sorted({*self.starts, *self.publishes}, key=lambda each: each.__name__)


def rights_of(declarations: Sequence[Declaration]) -> Rights:
    """Return what these services may publish from outside."""
    emitters: dict[type[Event], list[str]] = {}
    for each in declarations:
        for handler in each.handlers:
            for emitted in handler.emits:
                emitters.setdefault(emitted, []).append(handler.step)
    return Rights(
        starts={saga.starts: (saga, each.name) for each in declarations for saga in each.sagas},
        publishes={emitted: each.name for each in declarations for emitted in each.publishes},
        sagas={saga.name: saga for each in declarations for saga in each.sagas},
        emitters=emitters,
    )


def identify(rights: Rights, event: Event, where: Where) -> Envelope:
    """Return an event with the ids under which it travels; body and time are yet to come.

    Raises:
        DeclarationError: If it may not be published here, or does not say which saga it belongs to.
    """
    if where.get("connection") is not None:
        message = f"{type(event).__name__} was to be published with connection=, and this version has no SqlStore yet"
        fix = "Leave connection= out: publish() returns when the brokers have the event."
        raise refused(message, fix, code="CH093")
    event_id = where.get("event_id")
    if event_id is not None and not 0 < len(event_id.encode()) <= EVENT_ID_BYTES_MAX:
        raise refused(f"event_id={event_id!r} is not 1 to {EVENT_ID_BYTES_MAX} bytes")
    kind = type(event)
    if kind in rights.starts:
        return _start(rights, event, where)
    if kind in rights.publishes:
        return _into(rights, event, where)
    raise _not_ours(rights, kind)


def _start(rights: Rights, event: Event, where: Where) -> Envelope:
    saga, service = rights.starts[type(event)]
    name = type(event).__name__
    if where.get("saga", saga.name) != saga.name:
        raise refused(f"{name} starts {saga.name}, not {where['saga']}")
    if where.get("branch"):
        raise refused(f"{name} starts {saga.name}, and a saga starts in no branch", "Leave branch= out.")
    key = _business_key(saga, event, where)
    wanted = _canonical(where["saga_id"]) if "saga_id" in where else None
    if key:
        saga_id = saga_id_for(saga.name, key, _generation(where))
        if wanted not in (None, saga_id):
            message = f"{name} with {saga.key or 'key'} {key!r} starts saga {saga_id}, not {wanted}"
            raise refused(message, "Leave saga_id= out: it follows from the business key.")
    elif "generation" in where:
        raise refused(f"generation= repeats a saga of the same business key, and {saga.name} has none")
    else:
        saga_id = wanted or uuid7()
    # One saga has one start: given its id, starting twice is once, as with a business key.
    event_id = where.get("event_id") or start_event_id(saga_id)
    return Envelope(event, b"", event_id, event.__choreo_type__, saga_id, saga.name, key, f"/{service}")


def _into(rights: Rights, event: Event, where: Where) -> Envelope:
    name = type(event).__name__
    if ("saga_id" in where) == ("key" in where):
        raise refused(f"{name} goes into a running saga", "Say which one by saga_id= or key=, one of them.")
    if "saga_id" in where:
        if "generation" in where:
            raise refused("saga_id= names one generation already", "Leave generation= out.")
        saga_id, saga_type = _canonical(where["saga_id"]), where.get("saga", "")
    else:
        saga_type = _saga_type(rights, name, where)
        saga_id = saga_id_for(saga_type, _key_text(name, where["key"]), _generation(where))
    return Envelope(
        event=event,
        body=b"",
        event_id=where.get("event_id") or uuid7(),
        type=event.__choreo_type__,
        saga_id=saga_id,
        saga_type=saga_type,
        business_key=str(where.get("key", "")),
        source=f"/{rights.publishes[type(event)]}",
        branch=where.get("branch", ""),
    )


def _saga_type(rights: Rights, name: str, where: Where) -> str:
    if "saga" in where:
        return where["saga"]
    if len(rights.sagas) == 1:
        return next(iter(rights.sagas))
    known = f"one of {', '.join(sorted(rights.sagas))}" if rights.sagas else "these services own none"
    raise refused(f"{name} with key= needs saga=, the name of the saga type ({known})")


def _business_key(saga: Saga, event: Event, where: Where) -> str:
    name = type(event).__name__
    if saga.key is None:
        return _key_text(name, where["key"]) if "key" in where else ""
    key = _key_text(f"{name}.{saga.key}", getattr(event, saga.key))
    if "key" in where and str(where["key"]) != key:
        raise refused(f"{name}.{saga.key} is {key!r}, and key={where['key']!r} was given", "Leave key= out.")
    return key


def _key_text(place: str, value: object) -> str:
    text = str(value.value if isinstance(value, Enum) else value)
    if value is None or not text:
        raise refused(f"the business key in {place} is empty")
    return text


def _generation(where: Where) -> int:
    generation = where.get("generation", 1)
    if generation < 1:
        raise refused(f"generation={generation} is not counted from 1")
    return generation


def _canonical(saga_id: str) -> str:
    try:
        return str(uuid.UUID(saga_id))
    except (ValueError, AttributeError, TypeError):
        raise refused(f"saga_id={saga_id!r} is not a UUID", "A business key is given as key=.") from None


def _not_ours(rights: Rights, kind: type) -> DeclarationError:
    name = kind.__name__
    allowed = ", ".join(each.__name__ for each in rights.types) or "nothing"
    if emitters := rights.emitters.get(kind):
        message = f"{name} is emitted by {' and '.join(emitters)}, in a handler, not from outside"
        return refused(message, f"From outside these services publish {allowed}.", code="CH091")
    fix = f"Open the publisher with the service that owns its saga, or declare service.publishes({name}, by=…)."
    fix = " ".join(filter(None, (guess(name, [each.__name__ for each in rights.types], ""), fix)))
    message = f"{name} is not published from outside here: these services publish {allowed}"
    return refused(message, fix, code="CH091")


def refused(message: str, fix: str = "", *, code: str = "CH092") -> DeclarationError:
    """Return the error for something that no retry will mend."""
    return DeclarationError([Problem(code, message, "", fix)])
