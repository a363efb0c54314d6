"""An event's body, put together again from what a tracker keeps of it.

The way back from decoded fields to Avro, by the schema that the event was written with, lives here; the tracker's
decoding is the way there. Sensitive fields were never kept: whatever stands for them is of the right type, and says
nothing. `stored` makes one `Body` a schema.
"""

import io
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro

from choreo.errors import SchemaError
from choreo.schema import Schema, sensitive_fields
from choreo.schema.avro import SchemaNode, resolve
from choreo.schema.forms import EPOCH
from choreo.tracker.decoding import MAGIC
from choreo.tracker.view import MASK

# Decoded fields and Avro's data are of any shape.
Value = Any

_HEX = re.compile(r"([0-9a-f]{2})*")
_READ: dict[str, Callable[[Value], Value]] = {
    "decimal": Decimal,
    "date": date.fromisoformat,
    "time-micros": time.fromisoformat,
    "timestamp-micros": datetime.fromisoformat,
    "uuid": UUID,
}
_STAND_INS: dict[str, Value] = {
    "decimal": Decimal(0),
    "date": EPOCH.date(),
    "time-micros": time(tzinfo=UTC),
    "timestamp-micros": EPOCH,
    "uuid": UUID(int=0),
    "null": None,
    "boolean": False,
    "int": 0,
    "long": 0,
    "float": 0.0,
    "double": 0.0,
    "bytes": b"",
    "string": MASK,
    "array": [],
    "map": {},
}


class Body:
    """Writes bodies with one schema.

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
        """Whether it has sensitive fields, so that its events are not what they were."""

    def value(self, payload: dict[str, Any]) -> bytes:
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
    if given == MASK and (sensitive or node.type != "string"):
        return _stand_in(node)
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
    read = _READ.get(node.logical)
    if read is not None:
        return read(_of(str, given))
    match node.type:
        case "null":
            return _of(type(None), given)
        case "boolean":
            return _of(bool, given)
        case "int" | "long":
            if isinstance(given, bool):
                raise TypeError("not a number")
            return _of(int, given)
        case "float" | "double":
            return _of(float, given)
        case "bytes":
            if not _HEX.fullmatch(_of(str, given)):
                raise ValueError("not bytes")
            return bytes.fromhex(given)
    return _of(str, given)


def _chosen(node: SchemaNode, given: Value) -> Value:
    """Return a value as the first branch of a union that it fits, tagged where names tell branches apart."""
    for each in sorted(node.inner, key=_plainness):
        try:
            datum = _datum(each, given)
        except (ValueError, TypeError, ArithmeticError):
            continue
        return (each.name, datum) if each.type in {"record", "enum"} else datum
    raise ValueError("no branch of a union fits")


def _plainness(node: SchemaNode) -> bool:
    """Sort plain text last: much else looks like it."""
    return node.type == "string" and not node.logical


def _of(kind: type, given: Value) -> Value:
    if not isinstance(given, kind):
        raise TypeError(f"not a {kind.__name__}")
    return given


def _stand_in(node: SchemaNode) -> Value:
    if node.type == "union":
        plain = [each for each in node.inner if each.type == "null"] or node.inner
        chosen = plain[0]
        datum = _stand_in(chosen)
        return (chosen.name, datum) if chosen.type in {"record", "enum"} else datum
    if node.type == "record":
        return {each.name: _stand_in(each.node) for each in node.fields}
    if node.type == "enum":
        return node.symbols[0]
    return _STAND_INS[node.logical or node.type]
