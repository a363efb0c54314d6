"""`choreo schema write|check`: one Avro file an event.

Arguments and printing live here; deriving and comparing schemas is `schema`'s. The files are checked in, and `check`
belongs in a build.
"""

import json
from pathlib import Path

import click

from choreo.cli.group import EXIT_PROBLEMS
from choreo.cli.output import json_option, note, print_json
from choreo.cli.target import load
from choreo.event import Event
from choreo.schema import incompatibilities, stale
from choreo.schema import write as write_files

_out = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("avro"),
    show_default=True,
    help="Folder of the .avsc files.",
)


@click.group()
def schema() -> None:
    """Write or check the Avro schema of each event."""


def _event_types(targets: tuple[str, ...]) -> list[type[Event]]:
    from choreo.service import declarations

    kinds = {kind for each in declarations(*load(targets)) for kind in each.event_types}
    return sorted(kinds, key=lambda kind: kind.__choreo_type__)


def _breaks(path: Path, content: str) -> list[str]:
    """Return why readers and writers on both sides of a change would not understand each other."""
    if not path.is_file():
        return []
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        return [f"the file is not JSON: {error}"]
    after = json.loads(content)
    backward = [f"new readers, old events: {each}" for each in incompatibilities(before, after)]
    return backward + [f"old readers, new events: {each}" for each in incompatibilities(after, before)]


@schema.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@_out
@click.option("--force", is_flag=True, help="Write even what old and new versions would not both understand.")
@json_option
def write(targets: tuple[str, ...], out: Path, force: bool, as_json: bool) -> None:  # noqa: FBT001 - click's form
    """Write the schema of every event that the services know; files that are right stay untouched.

    A change that breaks readers is refused: make a new event instead, or say --force while nothing of it is out there.
    """
    types = _event_types(targets)
    breaks = {path: found for path, content in stale(types, out).items() if (found := _breaks(path, content))}
    if breaks and not force:
        if as_json:
            print_json({"incompatible": {str(path): found for path, found in breaks.items()}})
        for path, found in breaks.items():
            for each in found:
                note(f"{path}: {each}")
        note("Nothing was written. Make a new event instead, or say --force while no event of it is out there.")
        raise click.exceptions.Exit(EXIT_PROBLEMS)
    written = write_files(types, out)
    if as_json:
        print_json({"written": [str(path) for path in written]})
        return
    for path in written:
        click.echo(path)
    note(f"{len(written)} of {len(types)} files written in {out}" if written else f"All {len(types)} files are fresh.")


@schema.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@_out
@json_option
def check(targets: tuple[str, ...], out: Path, as_json: bool) -> None:  # noqa: FBT001 - click's form
    """Compare the files with the models. Exit code 1 if one is missing, stale, or a change is not compatible."""
    types = _event_types(targets)
    found = stale(types, out)
    told = {str(path): ["missing" if not path.is_file() else "stale", *_breaks(path, found[path])] for path in found}
    if as_json:
        print_json({"stale": told})
    for path, words in told.items() if not as_json else ():
        click.echo(f"{path}: {'; '.join(words)}")
    if told:
        note(f"Write them with: choreo schema write {' '.join(targets)} --out {out}")
        raise click.exceptions.Exit(EXIT_PROBLEMS)
    note(f"All {len(types)} files are fresh.")
