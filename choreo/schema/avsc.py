"""Schemas as files that are checked in: one `.avsc` an event.

Files are compared, written and parsed here; what they hold comes from the models. The `schema` commands call it, and
tests of projects that use choreo may.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from choreo.errors import SchemaError
from choreo.schema.forms import Schema
from choreo.schema.model import avro_schema


def file_name(type_name: str) -> str:
    """Return the name of the file that holds an event type's schema."""
    return f"{type_name}.avsc"


def schemas_of(types: Iterable[type[BaseModel]]) -> dict[str, Schema]:
    """Return each event type's schema by its full name, sorted.

    Raises:
        SchemaError: If two classes have one name, or one of them has no topic.
    """
    by_name: dict[str, type[BaseModel]] = {}
    for event_type in types:
        name = str(getattr(event_type, "__choreo_type__", ""))
        if not name:
            raise SchemaError(f"{event_type.__name__} has no topic=, so it has no schema of its own")
        if by_name.setdefault(name, event_type) is not event_type:
            raise SchemaError(f"two event classes are called {name}; give one of them another name=")
    return {name: avro_schema(by_name[name], name) for name in sorted(by_name)}


def stale(types: Iterable[type[BaseModel]], folder: Path) -> dict[Path, str]:
    """Return the files that differ from the models or are missing, each with the text that it should hold."""
    wanted = {folder / file_name(name): text(schema) for name, schema in schemas_of(types).items()}
    return {
        path: content
        for path, content in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != content
    }


def write(types: Iterable[type[BaseModel]], folder: Path) -> dict[Path, str]:
    """Write the files that are stale and return them; the folder is made where it is missing."""
    changed = stale(types, folder)
    for path, content in changed.items():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="\n")
    return changed


def text(schema: Schema) -> str:
    """Return a schema as it is checked in: two spaces, keys as they are, one newline at the end."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def parsed(source: str) -> dict[str, Any]:
    """Return the event's schema that a file's text holds.

    Raises:
        SchemaError: If it holds something else.
    """
    try:
        schema = json.loads(source)
    except ValueError as error:
        raise SchemaError(f"not JSON: {error}") from error
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise SchemaError("an event's schema is a record")
    return schema
