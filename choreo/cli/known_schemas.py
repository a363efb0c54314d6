"""The schemas that readers and writers already have: in a folder, at a git revision, or announced on the brokers.

Collecting them by event lives here; comparing new ones with them does not (`schema.evolution`). `choreo schema` calls
this. Nothing in the working tree or the repository is touched.
"""

import subprocess
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import click

from choreo.cli.command_group import CommandFailed
from choreo.cli.live_system import newest
from choreo.manifest import Manifest
from choreo.schema.evolution import BreakKind, KnownSchema, SchemaBreak

GIT_TIMEOUT_S = 30.0
"""Longest that git may take for one answer; a partial clone fetches what it is asked for."""


def in_folder(paths: Iterable[Path]) -> list[KnownSchema]:
    """Return the schemas of those of these files that exist."""
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()}
    return [KnownSchema(path.stem, text, str(path)) for path, text in texts.items()]


def at_revision(revision: str, folder: Path) -> list[KnownSchema]:
    """Return the schemas of a folder's .avsc files as they were at a git revision, its subfolders left out.

    There are none where the revision has no such folder, which need not exist any more.

    Raises:
        CommandFailed: If there is no git, no repository or no such revision, or git takes longer than `GIT_TIMEOUT_S`.
    """
    option = f"--against-git {revision}"
    if revision.startswith("-"):
        raise click.UsageError(f"{option}: that is no revision.")
    root = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
    path = folder.absolute().relative_to(root.absolute()).as_posix()
    try:
        _git(root, "rev-parse", "--show-toplevel")
    except subprocess.CalledProcessError as error:
        raise CommandFailed([f"{option}: {_last_line(error)}", f"looked from {root.absolute()}"]) from None
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    except subprocess.CalledProcessError:
        fetch = "If it is another branch, fetch it first; a shallow clone has the newest commits only."
        raise CommandFailed([f"{option}: the repository has no such revision. {fetch}"]) from None
    try:
        paths = _git(root, "ls-tree", "-z", "--name-only", commit, "--", f"{path}/").split("\0")
        texts = {Path(each): _git(root, "show", f"{commit}:./{each}") for each in paths if each.endswith(".avsc")}
    except subprocess.CalledProcessError as error:
        raise CommandFailed([f"{option}: {_last_line(error)}"]) from None
    return [KnownSchema(each.stem, text, f"{revision}:{folder.as_posix()}/{each.name}") for each, text in texts.items()]


def _git(folder: Path, *arguments: str) -> str:
    try:
        printed = subprocess.run(  # noqa: S603 - no shell, and no argument that git takes for an option
            ["git", *arguments],  # noqa: S607 - whichever git people use
            cwd=folder,
            capture_output=True,
            check=True,
            timeout=GIT_TIMEOUT_S,
        ).stdout
    except FileNotFoundError:
        raise CommandFailed(["--against-git needs the git executable, and there is none on the PATH."]) from None
    except subprocess.TimeoutExpired:
        message = f"git {arguments[0]} took longer than {GIT_TIMEOUT_S:g} s in {folder.absolute()}."
        raise CommandFailed([message]) from None
    return printed.decode(errors="replace")


def _last_line(error: subprocess.CalledProcessError) -> str:
    lines = bytes(error.stderr).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"git ended with code {error.returncode}"


def announced(manifests: list[Manifest]) -> Iterator[KnownSchema]:
    """Yield the schemas that services announced, those of replaced versions too: what these wrote is in the topics."""
    runs = newest(manifests)
    for manifest in manifests:
        for name, event in manifest.events.items():
            schema = manifest.schemas.get(event.fingerprint)
            if schema is not None:
                yield KnownSchema(name, schema, manifest.key, current=runs[manifest.service] is manifest)


def gone(manifests: list[Manifest], services: Collection[str], known: Collection[str]) -> Iterator[SchemaBreak]:
    """Yield the events that a deploy of services takes away while others still read or emit them.

    Deployed services know the `known` events from then on; manifests come the oldest first.
    """
    runs = newest(manifests)
    others = [each for service, each in sorted(runs.items()) if service not in services]
    before = {name for service in services if service in runs for name in runs[service].events}
    for name in sorted(before.difference(known)):
        uses = {each.key: f"{each.service} {use}" for each in others if (use := _use(each, name))}
        if uses:
            fix = "Keep it until no other service reads or emits it; or deploy those without it first."
            why = ", ".join(uses.values())
            yield SchemaBreak(event=name, path="", way=BreakKind.GONE, why=why, fix=fix, out_there=tuple(uses))


def _use(manifest: Manifest, name: str) -> str:
    """Return what a service does with an event: read it, emit it, both, or "" for neither."""
    starts = {saga.starts for saga in manifest.sagas}
    reads, emits = set(starts), starts.union(manifest.publishes)
    for each in manifest.handlers:
        reads.update(each.causes, each.unless, each.awaits, each.original, *each.waits_for, *each.extras)
        emits.update(each.emits)
    return " and ".join(word for word, names in (("reads it", reads), ("emits it", emits)) if name in names)
