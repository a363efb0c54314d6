"""The checked-in schemas: one `.avsc` file an event.

Only comparing and writing files lives here; what stands in them comes from the models. The `schema` commands and the
tests of a project that uses choreo call it.
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
    """Return each event type's schema by its full name.

    Raises:
        SchemaError: If two classes have one name, or one of them has no topic.
    """
    found: dict[str, type[BaseModel]] = {}
    for each in types:
        type_name = str(getattr(each, "__choreo_type__", ""))
        if not type_name:
            raise SchemaError(f"{each.__name__} has no topic=, so it has no schema of its own")
        if found.setdefault(type_name, each) is not each:
            raise SchemaError(f"two event classes are called {type_name}; give one of them another name=")
    return {type_name: avro_schema(found[type_name], type_name) for type_name in sorted(found)}


def stale(types: Iterable[type[BaseModel]], folder: Path) -> dict[Path, str]:
    """Return the files that do not say what the models say, with what they ought to say.

    Args:
        types: Event classes.
        folder: Where the files are; it may be missing.
    """
    wanted = {folder / file_name(name): text(schema) for name, schema in schemas_of(types).items()}
    return {path: content for path, content in wanted.items() if _content(path) != content}


def write(types: Iterable[type[BaseModel]], folder: Path) -> dict[Path, str]:
    """Write the files that are stale and return them; the folder is made where it is missing."""
    changed = stale(types, folder)
    if changed:
        folder.mkdir(parents=True, exist_ok=True)
    for path, content in changed.items():
        path.write_text(content, encoding="utf-8", newline="\n")
    return changed


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


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
