"""Validators that refuse values that Avro cannot hold.

A model's validator is tightened here; which types are allowed at all is decided in `model`. Event classes use it when
they are complete, so that making an event refuses what could not be encoded.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator

LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1

# Pydantic's core schemas are plain dicts of its own making, and values in them may be anything.
_Core = dict[str, Any]
_Rules = Mapping[str, Callable[[_Core], object]]
# Values under these keys are not schemas, whatever they look like.
_OPAQUE = frozenset({"metadata", "serialization", "config", "default", "cls", "expected", "members", "computed_fields"})


def tightened(core_schema: CoreSchema, *, hide_input: bool = False, decoded: bool = False) -> SchemaValidator:
    """Return a validator that also refuses NaN, ints beyond 64 bits, naive datetimes, aware times and lone surrogates.

    The rules run inside Pydantic's compiled core, so an event costs no Python time for them. Nested models keep their
    own validators; where the tightened model nests them they are held to the rules, instances made before included.

    Args:
        core_schema: Of a complete model; it is left as it is.
        hide_input: Keep values out of error messages.
        decoded: Its values come from a decoder, which has counted the digits of decimals already; Pydantic takes
            longer for that than for all else.
    """
    # The validators that nested models already have are the loose ones, so they must not be taken ready-made.
    rules = {**_RULES, "decimal": _counted} if decoded else _RULES
    return SchemaValidator(_tight(core_schema, rules), {"hide_input_in_errors": hide_input}, _use_prebuilt=False)


def _tight(schema: Any, rules: _Rules) -> Any:
    if isinstance(schema, list | tuple):
        return type(schema)(_tight(each, rules) for each in schema)
    if not isinstance(schema, dict):
        return schema
    copy: _Core = {key: value if key in _OPAQUE else _tight(value, rules) for key, value in schema.items()}
    kind = copy.get("type")
    if isinstance(kind, str) and kind in rules:
        rules[kind](copy)
    return copy


def _int(schema: _Core) -> None:
    schema["ge"] = max(schema.get("ge", LONG_MIN), LONG_MIN)
    schema["le"] = min(schema.get("le", LONG_MAX), LONG_MAX)


def _counted(schema: _Core) -> None:
    schema["allow_inf_nan"] = False
    schema.pop("max_digits", None)
    schema.pop("decimal_places", None)


def _datetime(schema: _Core) -> None:
    schema["tz_constraint"] = "aware"
    # With an offset, a datetime can lie outside what UTC can say.
    schema.setdefault("ge", datetime.min.replace(tzinfo=UTC))
    schema.setdefault("le", datetime.max.replace(tzinfo=UTC))


_RULES: _Rules = {
    "int": _int,
    "float": lambda schema: schema.update(allow_inf_nan=False),
    "decimal": lambda schema: schema.update(allow_inf_nan=False),
    "datetime": _datetime,
    "time": lambda schema: schema.update(tz_constraint="naive"),
    # Any constraint makes Pydantic look at the text, and then it refuses lone surrogates, which UTF-8 cannot say.
    "str": lambda schema: schema.setdefault("min_length", 0),
    # A nested instance was checked by its own, looser validator, and it may have been changed since.
    "model": lambda schema: schema.update(revalidate_instances="always"),
}
