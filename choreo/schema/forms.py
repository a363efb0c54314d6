"""Types as Python and Avro both have them.

`Form`, its Avro schema and its defaults live here. `model` reads a Pydantic model into forms; the codec makes bytes of
values by them.
"""

import enum
import json
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from choreo.clock import EPOCH, MICROSECOND

# Avro schemas are JSON: objects, arrays and strings of any shape.
Schema = dict[str, Any]

EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
SENSITIVE = "choreo.sensitive"
NO_DEFAULT: Any = object()

_LOGICAL: dict[str, Schema] = {
    "uuid": {"type": "string", "logicalType": "uuid"},
    "date": {"type": "int", "logicalType": "date"},
    "time": {"type": "long", "logicalType": "time-micros"},
    "timestamp": {"type": "long", "logicalType": "timestamp-micros"},
    "decimal": {"type": "bytes", "logicalType": "decimal"},
}


@dataclass(slots=True, eq=False)
class Form:
    """One type, as Python and Avro both say it."""

    # null, boolean, long, double, bytes, string, uuid, date, time, timestamp, decimal, array, map, enum, record or
    # union.
    kind: str
    python: type[Any] = object  # Class of the values; of one branch's values, never of a union.
    name: str = ""  # Avro full name of a record or an enum.
    items: "Form | None" = None  # What an array or a map holds.
    branches: "tuple[Form, ...]" = ()  # What a union may be, in Avro's order.
    fields: "list[FieldForm]" = field(default_factory=list)  # What a record holds.
    precision: int = 0  # Digits of a decimal.
    scale: int = 0  # Those of them after the point.
    strict: bool = False  # The value must reach Pydantic as an object of its class, not as text that it would parse.

    @property
    def avro_type(self) -> str:
        """What tells this form from the other branches of a union: its Avro type, or its name if it has one."""
        return self.name or str(_LOGICAL.get(self.kind, {}).get("type", self.kind))

    @property
    def inner(self) -> "Form":
        """What an array or a map holds."""
        assert self.items is not None
        return self.items


@dataclass(slots=True, eq=False)
class FieldForm:
    """One field of a record."""

    name: str  # Its name, in Python and in Avro.
    key: str  # What Pydantic wants it to be called when it validates.
    form: Form  # Its type.
    default: Any = NO_DEFAULT  # Its Avro default, or NO_DEFAULT.
    sensitive: bool = False  # It is marked `Sensitive`.


def json_schema(form: Form, namespace: str, known: set[str]) -> Schema | str | list[Any]:
    """Return a form as an Avro schema.

    Args:
        form: The type.
        namespace: That of the schema around it; names of that namespace are written short.
        known: Full names that the schema has defined before, and refers to; grows.
    """
    match form.kind:
        case "union":
            return [json_schema(branch, namespace, known) for branch in form.branches]
        case "array":
            return {"type": "array", "items": json_schema(form.inner, namespace, known)}
        case "map":
            return {"type": "map", "values": json_schema(form.inner, namespace, known)}
        case "decimal":
            return {**_LOGICAL["decimal"], "precision": form.precision, "scale": form.scale}
        case "enum" | "record":
            return _named(form, namespace, known)
    logical = _LOGICAL.get(form.kind)
    return dict(logical) if logical else form.kind


def _named(form: Form, namespace: str, known: set[str]) -> Schema | str:
    if form.name in known:
        return form.name
    known.add(form.name)
    own_namespace, _, short = form.name.rpartition(".")
    schema: Schema = {"type": form.kind, "name": short}
    if own_namespace != namespace:
        schema["namespace"] = own_namespace
    if form.kind == "enum":
        schema["symbols"] = [member.name for member in members(form)]
        return schema
    schema["fields"] = fields = []
    for each in form.fields:
        entry: Schema = {"name": each.name, "type": json_schema(each.form, own_namespace, known)}
        if each.default is not NO_DEFAULT:
            entry["default"] = each.default
        if each.sensitive:
            entry[SENSITIVE] = True
        fields.append(entry)
    return schema


def members(form: Form) -> list[enum.Enum]:
    """Return the members of an enum's form, in order, aliases left out."""
    assert issubclass(form.python, enum.Enum)
    return list(form.python)


def branch_of(form: Form, value: object) -> Form | None:
    """Return the branch of a union that holds this value: that of its own class, or else of a parent class."""
    for branch in form.branches:
        if type(value) is branch.python:
            return branch
    # bool is an int and datetime a date to Python, and neither is to Avro.
    if isinstance(value, bool | datetime):
        return None
    return next((branch for branch in form.branches if isinstance(value, branch.python)), None)


def default_json(form: Form, value: Any) -> Any:
    """Return a default as Avro's JSON has it.

    Args:
        form: The field's type. Avro takes a union's default from its first branch.
        value: The model's default: anything at all, since Pydantic does not validate defaults.

    Raises:
        TypeError: If the value is not of this type.
        ValueError: If it is, and Avro cannot have it as a default.
    """
    if form.kind == "union":
        branch = branch_of(form, value)
        if branch is None:
            raise TypeError(f"its default {value!r} is none of its types")
        if branch is not form.branches[0]:
            raise ValueError
        form = branch
    if not isinstance(value, form.python) or (form.kind == "long" and isinstance(value, bool)):
        raise TypeError(f"its default {value!r} is no {form.python.__name__}")
    if isinstance(value, enum.Enum):
        return value.name
    match form.kind:
        case "array":
            return [default_json(form.inner, item) for item in value]
        case "map":
            return {key: default_json(form.inner, item) for key, item in value.items()}
        case "record":
            return {each.name: default_json(each.form, getattr(value, each.name)) for each in form.fields}
    return _scalar_json(form, value)


def _scalar_json(form: Form, value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("latin-1")
        case Decimal():
            return decimal_bytes(value, form.scale).decode("latin-1")
        case UUID():
            return str(value)
        case datetime():
            if value.tzinfo is None:
                raise TypeError(f"its default {value!r} is no aware datetime")
            return (value - EPOCH) // MICROSECOND
        case date():
            return value.toordinal() - EPOCH_ORDINAL
        case time():
            return time_micros(value)
        case float():
            json.dumps(value, allow_nan=False)  # A ValueError here: JSON knows neither NaN nor infinity.
    return value


def time_micros(value: time) -> int:
    """Return the microseconds since midnight."""
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond


def decimal_bytes(value: Decimal, scale: int) -> bytes:
    """Return a decimal's unscaled value as Avro wants it: two's complement, big-endian, as short as can be.

    Raises:
        ValueError: If the value has more digits after the point than `scale`.
    """
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{value} is not a number")  # noqa: TRY004  # It is the value that is wrong.
    unscaled = int("".join(map(str, digits)) or "0")
    shift = exponent + scale
    if shift >= 0:
        unscaled *= 10**shift
    else:
        unscaled, rest = divmod(unscaled, 10**-shift)
        if rest:
            raise ValueError(f"{value} has more than {scale} digits after the point")
    signed: int = -unscaled if sign else unscaled
    return signed.to_bytes((signed if signed >= 0 else ~signed).bit_length() // 8 + 1, "big", signed=True)
