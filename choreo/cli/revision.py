"""The checked-in schemas as they stand at a git revision.

Asking the `git` executable lives here; what is made of the files does not (`outside`). Nothing in the working tree or
the repository is touched.
"""

import subprocess
from pathlib import Path

import click

from choreo.cli.group import Told

GIT_TIMEOUT_S = 30.0
"""Longest that git may take for one answer; a partial clone fetches what it is asked for."""
SUFFIX = ".avsc"


def files_at(revision: str, folder: Path) -> dict[str, str]:
    """Return the text of each .avsc file of a folder by its name, as it was at a revision.

    Args:
        revision: Whatever git calls one: `main`, `HEAD~1`, a tag, an id.
        folder: Relative to the current directory, or absolute; it need not be there any more. What it holds in
            folders of its own is left out.

    Returns:
        Nothing where the revision has no such folder.

    Raises:
        Told: If there is no git, no repository or no such revision, or git takes longer than `GIT_TIMEOUT_S`.
    """
    if revision.startswith("-"):
        raise click.UsageError(f"--against-git {revision}: that is no revision.")
    here = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
    try:
        _git(here, "rev-parse", "--show-toplevel")
    except subprocess.CalledProcessError as error:
        raise Told([f"--against-git {revision}: {_last_words(error)}", f"looked from {here.absolute()}"]) from None
    try:
        commit = _git(here, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").decode().strip()
    except subprocess.CalledProcessError:
        fetch = "If it is another branch, fetch it first; a shallow clone has the newest commits only."
        raise Told([f"--against-git {revision}: the repository has no such revision. {fetch}"]) from None
    below = folder.absolute().relative_to(here.absolute()).as_posix()
    try:
        listed = _git(here, "ls-tree", "-z", commit, "--", f"{below}/")
        found = dict(_blobs(listed))
        contents = _git(here, "cat-file", "--batch", asked="".join(f"{blob}\n" for blob in found.values()))
    except subprocess.CalledProcessError as error:
        raise Told([f"--against-git {revision}: {_last_words(error)}"]) from None
    return dict(zip(found, _contents(contents), strict=True))


def _git(here: Path, *arguments: str, asked: str = "") -> bytes:
    try:
        return subprocess.run(  # noqa: S603 - no shell, and no argument that git takes for an option
            ["git", *arguments],  # noqa: S607 - whichever git people use
            cwd=here,
            input=asked.encode(),
            capture_output=True,
            check=True,
            timeout=GIT_TIMEOUT_S,
        ).stdout
    except FileNotFoundError:
        raise Told(["--against-git needs the git executable, and there is none on the PATH."]) from None
    except subprocess.TimeoutExpired:
        raise Told([f"git {arguments[0]} took longer than {GIT_TIMEOUT_S:g} s in {here.absolute()}."]) from None


def _blobs(listed: bytes) -> list[tuple[str, str]]:
    """Return the name of each file and the id of its content, from `ls-tree -z`: mode, kind, id, a tab, the path."""
    found = []
    for entry in listed.decode(errors="replace").split("\0")[:-1]:
        about, _, path = entry.partition("\t")
        if path.endswith(SUFFIX):
            found.append((path.rpartition("/")[2], about.split(" ")[2]))
    return found


def _contents(batch: bytes) -> list[str]:
    """Return the files of `cat-file --batch`: a line of id, kind and size, the content, the end of a line."""
    found, at = [], 0
    while at < len(batch):
        begins = batch.index(b"\n", at) + 1
        ends = begins + int(batch[at:begins].split()[2])
        found.append(batch[begins:ends].decode(errors="replace"))
        at = ends + 1
    return found


def _last_words(error: subprocess.CalledProcessError) -> str:
    said = bytes(error.stderr).decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"git ended with code {error.returncode}"
