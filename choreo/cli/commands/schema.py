"""`choreo schema write|check`: one Avro file an event, and whether other versions still understand it.

Arguments and printing live here; deriving and comparing schemas is `schema`'s, and collecting those to compare with
`known_schemas`'. The files are checked in, and `check` belongs in a build.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from choreo.cli import known_schemas
from choreo.cli.brokers import Brokers, broker_options
from choreo.cli.command_group import EXIT_PROBLEMS
from choreo.cli.live_system import running_manifests
from choreo.cli.output import heading, json_option, note, print_json
from choreo.cli.target import load, targets_argument
from choreo.event import Event
from choreo.schema import stale
from choreo.schema import write as write_files
from choreo.schema.avsc import file_name, schemas_of
from choreo.schema.evolution import KnownSchema, SchemaBreak, breaks
from choreo.service import declarations

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


def _declared(targets: tuple[str, ...]) -> tuple[list[type[Event]], set[str]]:
    """Return the event types that services know, and the services' names."""
    declared = declarations(*load(targets))
    kinds = {kind for each in declared for kind in each.event_types}
    return sorted(kinds, key=lambda kind: kind.__choreo_type__), {each.name for each in declared}


@schema.command()
@targets_argument
@_out
@click.option("--force", is_flag=True, help="Write even what old and new versions would not both understand.")
@json_option
def write(targets: tuple[str, ...], out: Path, force: bool, as_json: bool) -> None:
    """Write the schema of every event that the services know; files that are right stay untouched.

    A change that breaks readers is refused: make a new event instead, or say --force while nothing of it is out there.
    """
    types, _ = _declared(targets)
    found = breaks(known_schemas.in_folder(stale(types, out)), schemas_of(types))
    if found and not force:
        if as_json:
            files = dict.fromkeys(path for each in found for path in each.out_there)
            print_json(
                {"incompatible": {path: [str(each) for each in found if path in each.out_there] for path in files}}
            )
        _print(found, err=True)
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
@targets_argument
@_out
@click.option(
    "--against-git",
    "revision",
    metavar="REV",
    help="Compare with the files as they were at this revision, such as main, and not as they are.",
)
@broker_options
@json_option
def check(targets: tuple[str, ...], out: Path, revision: str | None, brokers: Brokers, as_json: bool) -> None:
    """Compare the models with what is out there. Exit code 1 if a change is not compatible both ways.

    Out there are the files in --out, which must also say what the models say; with --against-git, what they said at a
    revision; with --bootstrap-server, what running services have announced, and the files are not looked at.
    """
    types, services = _declared(targets)
    asked = bool(brokers.arguments())
    files = {} if asked and revision is None else stale(types, out)
    out_there: list[KnownSchema] = []
    found: list[SchemaBreak] = []
    if revision is not None:
        out_there += _at_revision(revision, types, out)
    if asked:
        manifests = running_manifests(brokers)
        out_there += known_schemas.announced(manifests)
        found += known_schemas.gone(manifests, services, {kind.__choreo_type__ for kind in types})
    if revision is None and not asked:
        out_there += known_schemas.in_folder(files)
    found += breaks(out_there, schemas_of(types))
    words = {str(path): "stale" if path.is_file() else "missing" for path in files}
    if as_json:
        problems = [asdict(each) | {"code": each.code} for each in found]
        print_json({"stale": {path: [word] for path, word in words.items()}, "problems": problems})
    else:
        for path, word in words.items():
            click.echo(f"{path}: {word}")
        _print(found)
    if words:
        note(f"Write them with: choreo schema write {' '.join(targets)} --out {out}")
    if words or found:
        raise click.exceptions.Exit(EXIT_PROBLEMS)
    note(f"All {len(types)} events fit what is out there." if out_there else f"All {len(types)} files are fresh.")


def _at_revision(revision: str, types: Sequence[type[Event]], out: Path) -> list[KnownSchema]:
    """Return what was there, and say what the change takes away: whether anybody goes on with it, only brokers know."""
    found = known_schemas.at_revision(revision, out)
    if not found:
        note(f"{revision} has no .avsc files in {out}: there is nothing to compare with.")
    here = {kind.__choreo_type__ for kind in types}
    for each in found:
        if each.event not in here and not (out / file_name(each.event)).exists():
            note(f"{each.who} is gone. With --bootstrap-server, services that still read or emit it are named.")
    return found


def _print(found: Sequence[SchemaBreak], *, err: bool = False) -> None:
    for each in found:
        click.echo(heading("error", "red", each.code, str(each)), err=err)
        click.echo(f"    with {', '.join(each.out_there)}\n    fix  {each.fix}\n", err=err)
