"""Events, the envelopes around them, and their ids.

`Event`, `Failure` and `Envelope` are defined here, with the formula for every id; `schema` and `codec` make bytes of
them. Users subclass `Event` and `Failure`; every module above uses the envelope.
"""

import re
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, ClassVar, NamedTuple, Unpack

from pydantic import BaseModel, ConfigDict

from choreo.errors import SchemaError
from choreo.schema import avro_schema, sensitive_fields, tightened

if sys.version_info >= (3, 14):
    from uuid import uuid7 as new_uuid7
else:
    from uuid_utils import uuid7 as new_uuid7

TOPIC_CHARS_MAX = 249
_TOPIC = re.compile(r"[a-z0-9][a-z0-9.-]*")
_FULL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_SAGA_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
_EMPTY_HASH = blake2b(digest_size=16)
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _checked_topic(owner: str, topic: str) -> str:
    if len(topic) > TOPIC_CHARS_MAX or not _TOPIC.fullmatch(topic):
        raise SchemaError(
            f"{owner}: topic {topic!r} must be lower-case letters, digits, dots and hyphens, at most {TOPIC_CHARS_MAX}"
        )
    return topic


def _type_name(owner: str, topic: str, name: str | None) -> str:
    if not topic:
        if name is not None:
            raise SchemaError(f"{owner}: name= needs a topic=, here or on a parent")
        return ""
    full_name = name if name is not None else f"{topic}.{owner}".replace("-", "_")
    if not _FULL_NAME.fullmatch(full_name):
        raise SchemaError(f"{owner}: {full_name!r} is not an Avro name; give the class another one with name=")
    return full_name


class Event(BaseModel):
    """An immutable domain fact, named in the past tense.

    Subclass it with `topic=`; subclasses of that class inherit the topic. A class without a topic in its ancestry is
    abstract: it shares fields, and cannot be emitted.

    Args:
        topic: Kafka topic that carries events of this class: lower-case letters, digits, dots and hyphens.
        name: Avro full name and `ce_type`; `<topic>.<ClassName>` (`-` becomes `_`) unless given.

    Raises:
        SchemaError: When the class is made, if a field has no exact Avro form; every such field is named.
        pydantic.ValidationError: When an event is made, for what the Avro form cannot hold: NaN, an int beyond 64
            bits, a naive datetime.
    """

    model_config = ConfigDict(frozen=True)

    __choreo_topic__: ClassVar[str] = ""
    __choreo_type__: ClassVar[str] = ""
    __choreo_sensitive__: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(
        cls, *, topic: str | None = None, name: str | None = None, **config: Unpack[ConfigDict]
    ) -> None:
        """Take the topic and the name of a new event class."""
        super().__init_subclass__(**config)
        if topic is not None:
            cls.__choreo_topic__ = _checked_topic(cls.__name__, topic)
        cls.__choreo_type__ = _type_name(cls.__name__, cls.__choreo_topic__, name)

    @classmethod
    def __pydantic_on_complete__(cls) -> None:
        """Refuse what Avro cannot hold: fields now, values from now on."""
        super().__pydantic_on_complete__()
        if not cls.model_config.get("frozen"):
            raise SchemaError(f"{cls.__name__}: an event is a fact and stays frozen")
        if cls.__choreo_type__:
            schema = avro_schema(cls, cls.__choreo_type__)
            # A field that nests something sensitive is hidden whole: the nested model's own repr would show it.
            cls.__choreo_sensitive__ = frozenset(path.partition(".")[0] for path in sensitive_fields(schema))
            hide_input = bool(cls.__choreo_sensitive__ or cls.model_config.get("hide_input_in_errors"))
            cls.__pydantic_validator__ = tightened(cls.__pydantic_core_schema__, hide_input=hide_input)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Return what a log may show."""
        for name, value in super().__repr_args__():
            yield name, ("***" if name in self.__choreo_sensitive__ else value)


class Failure(Event):
    """An event that aborts its saga. `reason` says why, for people."""

    reason: str


class Envelope(NamedTuple):
    """An event with all that travels around it.

    Attributes:
        event: The event itself.
        body: The record's value as it is on the wire, framing included.
        event_id: Its identity: the same id means the same event.
        type: Avro full name, as in `ce_type`.
        saga_id: The saga it belongs to, and its Kafka key.
        saga_type: Name of the saga type, "" where the writer did not say.
        business_key: The saga's key in the business, "" where there is none.
        source: Who emitted it: `/service/handler`, or any URI from outside.
        occurred_at: When, aware, in UTC.
        causation_id: The event that made the emitting step ready; "" from outside.
        causes: Event ids of all causes, where a join emitted it.
        compensates_id: The original that it undoes.
        branch: The branch that it is in, "" at the root.
        hop: How many events it is away from the start.
        path: Completed steps that led here, `service.handler`, oldest first.
        traceparent: W3C trace context, "" where there is none.
        tracestate: W3C trace state.
    """

    event: Event
    body: bytes
    event_id: str
    type: str
    saga_id: str
    saga_type: str = ""
    business_key: str = ""
    source: str = ""
    occurred_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    causation_id: str = ""
    causes: tuple[str, ...] = ()
    compensates_id: str = ""
    branch: str = ""
    hop: int = 0
    path: tuple[str, ...] = ()
    traceparent: str = ""
    tracestate: str = ""


def saga_id_for(saga_type: str, key: str, generation: int = 1) -> str:
    """Return the id of the saga of this type that has this business key; generation 2 repeats a finished saga."""
    suffix = f":{generation}" if generation > 1 else ""
    return str(uuid.uuid5(_SAGA_NAMESPACE, f"choreo:saga:{saga_type}:{key}{suffix}"))


def start_event_id(saga_id: str) -> str:
    """Return the id of the event that starts a saga with a business key: starting it twice publishes one id."""
    return str(uuid.uuid5(uuid.UUID(saga_id), "start"))


def emitted_id(saga_id: str, step: str, branch: str, trigger: str, index: int | str) -> str:
    """Return the id of what a step emits; the same step for the same trigger always gets the same ids.

    Args:
        saga_id: The saga.
        step: `service.handler`.
        branch: The branch the step runs in.
        trigger: What the step runs for: the cause's event id; "" for a join.
        index: Which output, from 0; "effect" for the step's idempotency key.
    """
    text = f"{saga_id}\n{step}\n{branch}\n{trigger}\n{index}\n"
    # A copy of an empty hash is made sooner than a new one.
    hashed = _EMPTY_HASH.copy()
    # surrogatepass: an id from outside may hold anything, and this formula must not fail on it.
    hashed.update(text.encode() if text.isascii() else text.encode("utf-8", "surrogatepass"))
    digest = hashed.hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{_VARIANT[digest[16]]}{digest[17:20]}-{digest[20:]}"


def short(full_name: str) -> str:
    """Return what people call an event type: its Avro full name without the namespace."""
    return full_name.rpartition(".")[2]


def uuid7() -> str:
    """Return a new time-ordered id, for sagas without a business key and events from outside."""
    return str(new_uuid7())
