"""Avro schemas as text: the canonical form, its fingerprint, and the pretty form for people.

Only the writing of a schema that exists lives here. Manifests, the codec and the checked-in files call it.
"""

import json
from typing import Any

import fastavro

from choreo.errors import SchemaError
from choreo.schema.form import Schema
from choreo.schema.named import Node, resolve


def canonical(schema: Schema) -> str:
    """Return Avro's parsing canonical form, which leaves out logical types, defaults and everything else of choreo's.

    Raises:
        SchemaError: If it is no Avro schema.
    """
    try:
        return str(fastavro.schema.to_parsing_canonical_form(schema))
    except (Exception, RecursionError) as error:
        # Whatever fastavro makes of something that is no schema, it is not one.
        raise SchemaError(f"not an Avro schema: {error}") from error


def fingerprint(schema: Schema) -> bytes:
    """Return CRC-64-AVRO of the canonical form: 8 bytes, little-endian, as they stand in a framed record."""
    # fastavro returns the 8 bytes in hexadecimal, in the order they are written.
    return bytes.fromhex(fastavro.schema.fingerprint(canonical(schema), "CRC-64-AVRO"))


def text(schema: Schema) -> str:
    """Return a schema as it is checked in: two spaces, keys as they are, one newline at the end."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def parsed(source: str) -> dict[str, Any]:
    """Return the schema of an event that a file's text says.

    Raises:
        SchemaError: If it says something else.
    """
    try:
        schema = json.loads(source)
    except ValueError as error:
        raise SchemaError(f"not JSON: {error}") from error
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise SchemaError("an event's schema is a record")
    return schema


def meaning(schema: Schema) -> str:
    """Return all that matters to whoever reads what a schema wrote: its form, its logical types and sensitive marks.

    Two schemas of one fingerprint may differ in this, and then their records cannot be told apart.

    Raises:
        SchemaError: If it is no Avro schema.
    """
    return json.dumps(_meaning(resolve(schema), set()))


def _meaning(node: Node, said: set[str]) -> list[Any]:
    if node.name and node.name in said:
        return [node.name]
    said.add(node.name)
    # Canonical form ignores logical types that Avro does not know, and so does every reader.
    logical = [node.logical, node.precision, node.scale] if node.logical else []
    fields = [[each.name, each.sensitive, _meaning(each.node, said)] for each in node.fields]
    inner = [_meaning(each, said) for each in node.inner]
    return [node.type, node.name, node.size, logical, list(node.symbols), fields, inner]
