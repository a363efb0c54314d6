"""From TARGETs on the command line to manifests: those of code, and those in files.

Files of manifests, as `choreo describe --json` prints them, are read here; what code declares is `target`'s to find.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from choreo.errors import SchemaError

if TYPE_CHECKING:
    from choreo.manifest import Manifest

STDIN = "-"


def parted(targets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return which of the targets name code, and which files of manifests: a name that ends in .json, or - ."""
    files = [target for target in targets if target == STDIN or target.endswith(".json")]
    return [target for target in targets if target not in files], files


def read_manifests(files: Sequence[str]) -> "list[Manifest]":
    """Return the manifests of these files, in order.

    Raises:
        SchemaError: If one holds something else; names it.
        click.FileError: If one cannot be read.
    """
    return [manifest for file in files for manifest in _read(file)]


def _read(file: str) -> "list[Manifest]":
    from pydantic import TypeAdapter, ValidationError

    from choreo.manifest import Manifest

    with click.open_file(file, "rb") as opened:
        data = opened.read()
    try:
        return TypeAdapter(list[Manifest]).validate_json(data)
    except ValidationError as error:
        text = f"{file} holds no manifests, as choreo describe --json prints them: {error}"
        raise SchemaError(text) from error
