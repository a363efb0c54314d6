"""Avro schemas as the specification has them: resolved, canonical, fingerprinted.

Here a schema becomes a graph in which every reference by name is the node itself, and its canonical form and
fingerprint are computed. Compatibility, sensitive fields and the codec's generators walk the graph.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import fastavro

from choreo.errors import SchemaError
from choreo.schema.forms import SENSITIVE, Schema

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
NESTING_MAX = 100
DIGITS_MAX = 1000


@dataclass(slots=True, eq=False)
class SchemaNode:
    """One type of a schema."""

    type: str  # Avro's word for it; "union" for a list.
    logical: str = ""  # Its logical type, "" where there is none.
    name: str = ""  # Full name of a record, an enum or a fixed.
    aliases: tuple[str, ...] = ()  # Other names that it answers to.
    # Branches of a union; the one thing that an array or a map holds.
    inner: "list[SchemaNode]" = field(default_factory=list)
    fields: "list[SchemaField]" = field(default_factory=list)  # A record's.
    symbols: tuple[str, ...] = ()  # An enum's.
    default: str | None = None  # An enum's default symbol.
    precision: int = 0  # A decimal's.
    scale: int = 0  # A decimal's.
    size: int = 0  # A fixed's.

    @property
    def short_name(self) -> str:
        """Its name without the namespace."""
        return self.name.rpartition(".")[2]

    def __str__(self) -> str:
        """Return what an error message calls it."""
        if self.logical == "decimal":
            return f"decimal({self.precision}, {self.scale})"
        return self.logical or (f"{self.type} {self.name}" if self.name else self.type)


@dataclass(slots=True, eq=False)
class SchemaField:
    """One field of a record node."""

    name: str
    node: SchemaNode
    has_default: bool
    sensitive: bool
    aliases: tuple[str, ...] = ()


# A schema is JSON of any shape, and one that came over the wire may be wrong in any way.
def resolve(schema: Any) -> SchemaNode:
    """Return a schema as a graph of nodes.

    Raises:
        SchemaError: If it is no Avro schema, or nests more than NESTING_MAX deep.
    """
    try:
        return _node(schema, "", {}, 0)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SchemaError(f"not an Avro schema: {error!r}") from error


def _node(schema: Any, namespace: str, named: dict[str, SchemaNode], depth: int) -> SchemaNode:
    if depth > NESTING_MAX:
        raise SchemaError(f"the schema nests more than {NESTING_MAX} deep")
    if isinstance(schema, str):
        return _by_name(schema, namespace, named)
    if isinstance(schema, list):
        return SchemaNode("union", inner=[_node(branch, namespace, named, depth + 1) for branch in schema])
    kind = schema["type"]
    if not isinstance(kind, str):
        return _node(kind, namespace, named, depth + 1)
    if kind in {"array", "map"}:
        held = schema["items" if kind == "array" else "values"]
        return SchemaNode(kind, inner=[_node(held, namespace, named, depth + 1)])
    if kind in {"record", "error", "enum", "fixed"}:
        return _named(schema, namespace, named, depth)
    node = _by_name(kind, namespace, named)
    return _logical(SchemaNode(kind), schema) if kind in _PRIMITIVES else node


def _by_name(name: str, namespace: str, named: dict[str, SchemaNode]) -> SchemaNode:
    if name in _PRIMITIVES:
        return SchemaNode(name)
    full_name = name if "." in name or not namespace else f"{namespace}.{name}"
    if full_name not in named:
        raise SchemaError(f"the schema refers to {full_name}, which it does not define before")
    return named[full_name]


def _named(schema: dict[str, Any], namespace: str, named: dict[str, SchemaNode], depth: int) -> SchemaNode:
    own_namespace, _, short = str(schema["name"]).rpartition(".")
    own_namespace = own_namespace or str(schema.get("namespace", namespace))
    full_name = f"{own_namespace}.{short}" if own_namespace else short
    if full_name in named:
        raise SchemaError(f"the schema defines {full_name} twice")
    kind = "record" if schema["type"] == "error" else str(schema["type"])
    node = named[full_name] = SchemaNode(kind, name=full_name, aliases=tuple(map(str, schema.get("aliases", ()))))
    if kind == "enum":
        node.symbols = tuple(map(str, schema["symbols"]))
        node.default = schema.get("default")
    elif kind == "fixed":
        node.size = int(schema["size"])
        _logical(node, schema)
    else:
        for each in schema["fields"]:
            inner = _node(each["type"], own_namespace, named, depth + 1)
            aliases = tuple(map(str, each.get("aliases", ())))
            name = str(each["name"])
            node.fields.append(SchemaField(name, inner, "default" in each, bool(each.get(SENSITIVE)), aliases))
    return node


def _logical(node: SchemaNode, schema: dict[str, Any]) -> SchemaNode:
    node.logical = str(schema.get("logicalType", ""))
    if node.logical == "decimal":
        node.precision = int(schema["precision"])
        node.scale = int(schema.get("scale", 0))
        if not 0 <= node.scale <= node.precision <= DIGITS_MAX:
            # The specification wants such a logical type ignored.
            node.logical, node.precision, node.scale = "", 0, 0
    return node


def canonical(schema: Schema) -> str:
    """Return Avro's parsing canonical form, without logical types, defaults and choreo's own properties.

    Raises:
        SchemaError: If it is no Avro schema.
    """
    try:
        return str(fastavro.schema.to_parsing_canonical_form(schema))
    except (Exception, RecursionError) as error:
        # fastavro may raise anything at something that is no schema.
        raise SchemaError(f"not an Avro schema: {error}") from error


def fingerprint(schema: Schema) -> bytes:
    """Return CRC-64-AVRO of the canonical form: 8 bytes, little-endian, as they stand in a framed record."""
    # fastavro returns the 8 bytes in hexadecimal, in the order they are written.
    return bytes.fromhex(fastavro.schema.fingerprint(canonical(schema), "CRC-64-AVRO"))


def meaning(schema: Schema) -> str:
    """Return all of a schema that matters to readers: its types, its logical types and its sensitive marks.

    Two schemas of one fingerprint may differ in this, and then their records cannot be told apart.

    Raises:
        SchemaError: If it is no Avro schema.
    """
    return json.dumps(_meaning(resolve(schema), set()))


def _meaning(node: SchemaNode, defined: set[str]) -> list[Any]:
    if node.name and node.name in defined:
        return [node.name]
    defined.add(node.name)
    # Canonical form ignores logical types that Avro does not know, and so does every reader.
    logical = [node.logical, node.precision, node.scale] if node.logical else []
    fields = [[each.name, each.sensitive, _meaning(each.node, defined)] for each in node.fields]
    inner = [_meaning(each, defined) for each in node.inner]
    return [node.type, node.name, node.size, logical, list(node.symbols), fields, inner]
