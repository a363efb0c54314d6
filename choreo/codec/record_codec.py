"""Envelopes to records and back.

`Codec`, which knows one program's event classes and the writers' schemas, lives here; how bodies and headers look in
bytes lives in the modules beside it. The runtime reads and writes every record through it, and so does the
publisher.
"""

from collections.abc import Iterable
from typing import cast

from choreo.codec import headers
from choreo.codec.decoder import HEAD_BYTES, Decoder, decoder
from choreo.codec.encoder import MAGIC, Encoder, encoder
from choreo.codec.schemas import Schemas
from choreo.errors import SchemaError, UndecodableRecord
from choreo.event import Envelope, Event
from choreo.schema import avro_schema
from choreo.transport import Outgoing, Record
from choreo.tuples import maker

EVENT_BYTES_MAX = 1_000_000
_envelope, _outgoing = maker(Envelope), maker(Outgoing)


class _Known:
    """One event class: its encoder, and a decoder for each writer's schema that was met."""

    __slots__ = ("decoders", "encode", "model", "name")

    def __init__(self, model: type[Event]) -> None:
        self.model = model
        self.name = model.__choreo_type__
        self.encode: Encoder = encoder(model)
        # By a value's first ten bytes: the framing and the fingerprint.
        self.decoders: dict[bytes, Decoder] = {}


class Codec:
    """Reads records into envelopes and writes envelopes as records, from any thread.

    Args:
        types: Event classes that this program knows.
        schemas: Writers' schemas; those of `types` are added.
        event_bytes_max: Longer bodies are neither read nor written.
        consumes: Those of `types` that `read` returns; all of them unless given.

    Raises:
        SchemaError: If two classes have one name, one has no topic, or a fingerprint is known with another meaning.
    """

    def __init__(
        self,
        types: Iterable[type[Event]],
        schemas: Schemas,
        *,
        event_bytes_max: int = EVENT_BYTES_MAX,
        consumes: Iterable[type[Event]] | None = None,
    ) -> None:
        self._schemas = schemas
        self._bytes_max = event_bytes_max
        self._known: dict[str, _Known] = {}
        self._by_class: dict[type[Event], _Known] = {}
        for each in types:
            self._learn(each)
        wanted = self._known.values() if consumes is None else [self._learn(each) for each in consumes]
        self._consumed = {known.name.encode(): known for known in wanted}

    def read(self, record: Record) -> Envelope | None:
        """Return a record as an envelope.

        Returns:
            None for a known type that nobody here consumes.

        Raises:
            UndecodableRecord: If it cannot be read; it belongs into the dead letters. Retrying helps for the reasons
                `unknown-type` and `unknown-fingerprint` only, once more manifests are known.
        """
        found: dict[str, bytes | None] = dict(record.headers)
        type_name = found.get("ce_type")
        known = self._consumed.get(type_name) if type_name else None
        if known is None:
            self._check_known(type_name)
            return None
        value = record.value
        if value is None:
            raise UndecodableRecord("undecodable", f"{known.name}: the record has no value")
        if len(value) > self._bytes_max:
            raise UndecodableRecord("oversized", f"{known.name}: {len(value)} bytes; {self._bytes_max} are allowed")
        try:
            context = headers.read(record, found, known.name)
        except UnicodeDecodeError as error:
            raise UndecodableRecord("undecodable", f"{known.name}: the key or a header is no text: {error}") from error
        decode = known.decoders.get(value[:HEAD_BYTES]) or self._decoder(known, value)
        return _envelope((decode(value), value, *context))

    def encode(self, event: Event) -> bytes:
        """Return an event's body, framed.

        Raises:
            SchemaError: If it was made without validation and does not fit its schema, has no topic, or is too long.
        """
        known = self._by_class.get(type(event)) or self._learn(type(event))
        body = known.encode(event)
        if len(body) > self._bytes_max:
            raise SchemaError(f"{known.name}: this one has {len(body)} bytes; {self._bytes_max} are allowed")
        return body

    def decode(self, type_name: str, body: bytes) -> Event:
        """Return the event that a framed body holds, whether it is consumed here or not.

        Raises:
            UndecodableRecord: If the type is not known here or the body cannot be read.
        """
        known = self._known.get(type_name)
        if known is None:
            raise UndecodableRecord("unknown-type", f"{type_name} is not known here")
        return cast("Event", (known.decoders.get(body[:HEAD_BYTES]) or self._decoder(known, body))(body))

    def outgoing(self, envelope: Envelope) -> Outgoing:
        """Return an envelope as a record of its event's topic, keyed by its saga."""
        key = envelope.saga_id.encode()
        return _outgoing((envelope.event.__choreo_topic__, key, envelope.body, headers.write(envelope, key), -1))

    def _learn(self, model: type[Event]) -> _Known:
        if not model.__choreo_type__:
            raise SchemaError(f"{model.__name__} has no topic=, so it cannot be emitted")
        known = self._known.setdefault(model.__choreo_type__, self._by_class.get(model) or _Known(model))
        if known.model is not model:
            raise SchemaError(f"two event classes are called {known.name}; give one of them another name=")
        if model not in self._by_class:
            self._by_class[model] = known
            schema = avro_schema(model, known.name)
            own = MAGIC + self._schemas.add(schema)
            known.decoders[own] = decoder(schema, model)
        return known

    def _check_known(self, type_name: bytes | None) -> None:
        if not type_name:
            raise UndecodableRecord("unknown-type", "the header ce_type is missing")
        name = type_name.decode("utf-8", "replace")
        if name not in self._known and not self._schemas.knows(name):
            raise UndecodableRecord("unknown-type", f"no manifest names {name!r}")

    def _decoder(self, known: _Known, value: bytes) -> Decoder:
        head = value[:HEAD_BYTES]
        if len(head) < HEAD_BYTES or not head.startswith(MAGIC):
            raise UndecodableRecord("undecodable", f"{known.name}: not Avro in single-object encoding")
        schema = self._schemas.get(head[len(MAGIC) :])
        if schema is None:
            raise UndecodableRecord("unknown-fingerprint", f"{known.name}: no manifest has {head[len(MAGIC) :].hex()}")
        try:
            made = decoder(schema, known.model)
        except SchemaError as error:
            # Kept, so that the two are compared once and not for every record.
            made = _refusal(f"{known.name}: {error}")
        known.decoders[head] = made
        return made


def _refusal(text: str) -> Decoder:
    def refuse(_value: bytes) -> Event:
        raise UndecodableRecord("undecodable", text)

    return refuse
