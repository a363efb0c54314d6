"""An event's Avro body, rebuilt from the decoded fields that a tracker keeps.

Encoding fields by the schema that the event was written with lives here; decoding them is the tracker's. Sensitive
fields were never kept: a placeholder of the right type stands for each. `recording_reader` makes one `PayloadEncoder` a
schema.
"""

import io
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro

from choreo.clock import EPOCH
from choreo.codec import HIDDEN, MAGIC
from choreo.errors import SchemaError
from choreo.schema import Schema, sensitive_fields
from choreo.schema.avro import SchemaNode, resolve

# Decoded fields and Avro's data are of any shape.
Value = Any

_KINDS: dict[str, type] = {
    "null": type(None),
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
}
"""What a decoded value of each Avro type is; text for all others."""
_HEX = re.compile(r"([0-9a-f]{2})*")
_LOGICAL: dict[str, tuple[Callable[[str], Value], Value]] = {
    "decimal": (Decimal, Decimal(0)),
    "date": (date.fromisoformat, EPOCH.date()),
    "time-micros": (time.fromisoformat, time(tzinfo=UTC)),
    "timestamp-micros": (datetime.fromisoformat, EPOCH),
    "uuid": (UUID, UUID(int=0)),
}
"""How text becomes a value of each logical type, and what stands for one that was not kept."""
_PLACEHOLDERS: dict[str, Value] = {"bytes": b"", "string": HIDDEN, "array": [], "map": {}}


class PayloadEncoder:
    """Encodes the fields of events with one schema.

    Args:
        schema: As a manifest announced it.
        fingerprint: Its fingerprint, in hex.

    Raises:
        SchemaError: If it is no schema.
    """

    def __init__(self, schema: Schema, fingerprint: str) -> None:
        self._node = resolve(schema)
        self._head = MAGIC + bytes.fromhex(fingerprint)
        self._schema = fastavro.parse_schema(schema)
        self.masks = bool(sensitive_fields(schema))
        """Whether it has sensitive fields, so that placeholders stand in its events."""

    def encode(self, payload: dict[str, Any]) -> bytes:
        """Return the value of a record with these fields.

        Raises:
            SchemaError: If they are not of this schema.
        """
        stream = io.BytesIO()
        try:
            fastavro.schemaless_writer(stream, self._schema, _datum(self._node, payload))
        except Exception as error:
            # fastavro raises whatever the misfit leads it into.
            raise SchemaError(f"the fields do not fit their schema: {error!r}") from error
        return self._head + stream.getvalue()


def _datum(node: SchemaNode, given: Value, *, sensitive: bool = False) -> Value:
    """Return what fastavro writes for a decoded value.

    Raises:
        ValueError: If it is not of this type; and whatever else a misfit leads to.
    """
    if given == HIDDEN and (sensitive or node.type != "string"):
        return _placeholder(node)
    match node.type:
        case "union":
            return _chosen(node, given)
        case "record":
            if not isinstance(given, dict) or given.keys() != {each.name for each in node.fields}:
                raise ValueError(f"not a {node.name}")
            return {each.name: _datum(each.node, given[each.name], sensitive=each.sensitive) for each in node.fields}
        case "array":
            return [_datum(node.inner[0], each) for each in _of(list, given)]
        case "map":
            return {name: _datum(node.inner[0], each) for name, each in _of(dict, given).items()}
        case "enum":
            if given not in node.symbols:
                raise ValueError(f"not a {node.name}")
            return given
    return _scalar(node, given)


def _scalar(node: SchemaNode, given: Value) -> Value:
    if node.logical in _LOGICAL:
        return _LOGICAL[node.logical][0](_of(str, given))
    value = _of(_KINDS.get(node.type, str), given)
    if node.type != "bytes":
        return value
    if not _HEX.fullmatch(value):
        raise ValueError("not bytes")
    return bytes.fromhex(value)


def _chosen(node: SchemaNode, given: Value) -> Value:
    """Return a value as the first branch of a union that it fits."""
    # Plain text comes last: much else looks like it.
    for each in sorted(node.inner, key=lambda each: each.type == "string" and not each.logical):
        try:
            datum = _datum(each, given)
        except (ValueError, TypeError, ArithmeticError):
            continue
        return _tagged(each, datum)
    raise ValueError("no branch of a union fits")


def _tagged(branch: SchemaNode, datum: Value) -> Value:
    """Return a datum with the name of its branch of a union, where branches are told apart by their names."""
    return (branch.name, datum) if branch.type in {"record", "enum"} else datum


def _of(kind: type, given: Value) -> Value:
    # Exactly: a bool is no int here.
    if type(given) is not kind:
        raise TypeError(f"not a {kind.__name__}")
    return given


def _placeholder(node: SchemaNode) -> Value:
    if node.type == "union":
        chosen = next((each for each in node.inner if each.type == "null"), node.inner[0])
        return _tagged(chosen, _placeholder(chosen))
    if node.type == "record":
        return {each.name: _placeholder(each.node) for each in node.fields}
    if node.type == "enum":
        return node.symbols[0]
    if node.logical:
        return _LOGICAL[node.logical][1]
    return _PLACEHOLDERS[node.type] if node.type in _PLACEHOLDERS else _KINDS[node.type]()
