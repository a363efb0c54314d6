"""The tracker's store, as the command line names it.

Reading `--store` and opening a tracker on it live here; what is in it does not. `sagas`, `parked` and `track` call
this.
"""

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from choreo.cli.brokers import read_settings
from choreo.cli.group import Told

if TYPE_CHECKING:
    from choreo.manifest import Manifest
    from choreo.tracker import Tracker

_PREFIX = "sqlite:///"
store_option = click.option("--store", metavar="URL", help="The tracker's store; sqlite:///tracker.db unless set.")


def file_of(url: str) -> Path:
    """Return the file that a store's URL names.

    Raises:
        Told: If it names another kind of store.
    """
    path = url.removeprefix(_PREFIX)
    if path == url or not path:
        raise Told([f"--store {url}: this version keeps its store in SQLite, as {_PREFIX}tracker.db"], 2)
    return Path(path)


def open_tracker(store: str | None) -> "Tracker":
    """Open the tracker's store for reading.

    Args:
        store: URL; from the settings unless given.

    Raises:
        Told: If nothing has been tracked there yet.
    """
    from choreo.tracker import Tracker

    return Tracker.open(_existing(store))


def announced(store: str | None) -> list["Manifest"]:
    """Return the manifests that the tracker has read, the oldest first; those that are none are passed over.

    Args:
        store: URL; from the settings unless given.

    Raises:
        Told: If nothing has been tracked there yet.
    """
    path = file_of(_existing(store))

    from choreo.errors import SchemaError
    from choreo.manifest import Manifest
    from choreo.tracker import Store

    found = []
    with closing(Store(path)) as kept:
        for body in kept.manifests():
            with suppress(SchemaError):
                found.append(Manifest.from_bytes(body))
    return found


def _existing(store: str | None) -> str:
    url = read_settings(**({} if store is None else {"store": store})).store
    path = file_of(url)
    if not path.exists():
        raise Told([f"There is no tracker's store at {path}. Start one with: choreo track --store {url}"])
    return url
