"""An event to try things with.

Making up an event's fields lives here, from its Avro schema: what a test does not care for. Tests that do care give
the fields that they care for.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from choreo.event import Event
from choreo.schema import avro_schema

E = TypeVar("E", bound=Event)
_PLAIN: dict[str, Any] = {  # A value for each Avro type, and for each logical one.
    "null": None,
    "string": "x",
    "int": 1,
    "long": 1,
    "float": 1.0,
    "double": 1.0,
    "boolean": False,
    "bytes": b"x",
    "uuid": UUID(int=1),
    "decimal": Decimal(1),
    "date": datetime(2026, 1, 1, tzinfo=UTC).date(),
    "time-micros": datetime(2026, 1, 1, tzinfo=UTC).time(),
    "timestamp-micros": datetime(2026, 1, 1, tzinfo=UTC),
}


def sample(kind: type[E], **fields: object) -> E:
    """Return an event of a type, with the fields that are given and others made up: "x", 1, a list of one.

    Args:
        kind: The event class.
        fields: What matters; also what could not be made up because a constraint forbids it.

    Raises:
        pydantic.ValidationError: If what was made up is not allowed; give these fields.
    """
    schema = avro_schema(kind, kind.__choreo_type__)
    return kind.model_validate({**_Maker().record(schema, leave=fields.keys()), **fields})


class _Maker:
    """Makes values up, one item to a list unless it would hold itself."""

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}
        self._open: set[str] = set()

    def record(self, schema: Any, leave: Collection[str] = ()) -> dict[str, Any]:  # Avro schemas are of any shape.
        """Return a record's fields, but for those that are left and those that have a default."""
        name = ".".join(filter(None, (schema.get("namespace"), schema["name"])))
        self._named[name] = schema
        self._open.add(name)
        fields = [each for each in schema["fields"] if each["name"] not in leave and "default" not in each]
        made = {each["name"]: self._value(each["type"]) for each in fields}
        self._open.discard(name)
        return made

    def _value(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return None if "null" in schema else self._value(schema[0])
        if isinstance(schema, str):
            return _PLAIN[schema] if schema in _PLAIN else self._value(self._named[schema])
        logical = schema.get("logicalType")
        if logical in _PLAIN:
            return _PLAIN[logical]
        match schema["type"]:
            case "record":
                return self.record(schema)
            case "array":
                items = schema["items"]
                return [] if isinstance(items, str) and items in self._open else [self._value(items)]
            case "map":
                return {}
            case "enum":
                return schema["symbols"][0]
            case other:
                return self._value(other)
