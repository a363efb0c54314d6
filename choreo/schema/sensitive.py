"""The mark for sensitive fields.

`Sensitive` is defined here, and found in models and in Avro schemas, in which it travels; the tracker, the command line
and the log keep such fields out of sight. Users annotate event fields with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from choreo.schema.avro import SchemaNode, resolve
from choreo.schema.forms import Schema


@dataclass(frozen=True, slots=True)
class Sensitive:
    """Marks a field that the tracker, the command line and the log never show or store.

    Use it as `Annotated[str, Sensitive()]`. It travels in the Avro schema, so readers without the class obey it too.
    """


def is_sensitive(info: FieldInfo) -> bool:
    """Tell whether a field, or any part of its type, is marked `Sensitive`."""
    return any(each is Sensitive or isinstance(each, Sensitive) for each in [*info.metadata, *_marks(info.annotation)])


def _marks(annotation: Any) -> Iterator[Any]:
    # An annotation may be anything that a person can type.
    yield from getattr(annotation, "__metadata__", ())
    for alias in ("__value__", "__supertype__", "__origin__"):
        inner = getattr(annotation, alias, None)
        if inner is not None and not isinstance(inner, type):
            yield from _marks(inner)
    if get_origin(annotation) is not Literal:
        for argument in get_args(annotation):
            yield from _marks(argument)


def sensitive_fields(schema: Schema) -> list[str]:
    """Return the dotted names of all sensitive fields of a record.

    Lists, maps and unions add nothing to a path: `lines.note`. Where a model nests itself, the nested field counts as
    sensitive if anything in it is, since a list of names would have no end.

    Raises:
        SchemaError: If it is no Avro schema.
    """
    return sorted(set(_paths(resolve(schema), "", ())))


def _paths(node: SchemaNode, path: str, above: tuple[SchemaNode, ...]) -> Iterator[str]:
    if node in above:
        if _holds_any(node, set()):
            yield path
        return
    for inner in node.inner:
        yield from _paths(inner, path, above)
    for field in node.fields:
        place = f"{path}.{field.name}" if path else field.name
        if field.sensitive:
            yield place
        else:
            yield from _paths(field.node, place, (*above, node))


def _holds_any(node: SchemaNode, seen: set[SchemaNode]) -> bool:
    if node in seen:
        return False
    seen.add(node)
    return any(field.sensitive or _holds_any(field.node, seen) for field in node.fields) or any(
        _holds_any(inner, seen) for inner in node.inner
    )
