"""The mark for fields that are nobody's business.

`Sensitive` and finding it again, in a model and in a schema, live here; who keeps such fields out of sight does not.
Users annotate event fields with it, and it travels in the Avro schema, where the tracker and the command line find
it.
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
    # What a marked field is annotated with may be anything a person can type.
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

    Paths go through lists, maps and unions without a trace: `lines.note`. Of a model that nests itself, the field where
    it does counts as sensitive if anything in it is: no list of names could reach to its bottom.

    Raises:
        SchemaError: If it is no Avro schema.
    """
    return sorted(set(_found(resolve(schema), "", ())))


def _found(node: SchemaNode, path: str, above: tuple[SchemaNode, ...]) -> Iterator[str]:
    if any(node is each for each in above):
        if _holds_any(node, set()):
            yield path
        return
    for inner in node.inner:
        yield from _found(inner, path, above)
    for each in node.fields:
        place = f"{path}.{each.name}" if path else each.name
        if each.sensitive:
            yield place
        else:
            yield from _found(each.node, place, (*above, node))


def _holds_any(node: SchemaNode, seen: set[int]) -> bool:
    if id(node) in seen:
        return False
    seen.add(id(node))
    return any(each.sensitive or _holds_any(each.node, seen) for each in node.fields) or any(
        _holds_any(inner, seen) for inner in node.inner
    )
