"""The tracker's store as the command line names it, and the saga in it that a person means.

`--store`, opening a tracker on it and finding one saga by its id or business key live here; what is shown of it does
not. `sagas`, `parked`, `track` and `check --against` call this.
"""

import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import click

from choreo.cli.brokers import read_settings
from choreo.cli.command_group import EXIT_USAGE, CommandFailed
from choreo.manifest import Manifest
from choreo.tracker import SagaView, Store, Tracker

PAGE_SAGAS = 500
_PREFIX = "sqlite:///"
store_option = click.option("--store", metavar="URL", help="The tracker's store; sqlite:///tracker.db unless set.")
type_option = click.option("--type", "saga_type", help="Its saga type, where SAGA is a key that several types have.")


def file_of(url: str) -> Path:
    """Return the file that a store's URL names.

    Raises:
        CommandFailed: If it names another kind of store.
    """
    path = url.removeprefix(_PREFIX)
    if path == url or not path:
        lines = [f"--store {url}: this version keeps its store in SQLite, as {_PREFIX}tracker.db"]
        raise CommandFailed(lines, EXIT_USAGE)
    return Path(path)


def open_tracker(store: str | None) -> Tracker:
    """Open the tracker's store for reading; the one in the settings where `store`, a URL, is None.

    Raises:
        CommandFailed: If nothing has been tracked there yet.
    """
    return Tracker.open(_existing(store))


def announced(store: str | None) -> list[Manifest]:
    """Return the manifests that the tracker has read, the oldest first, without those that cannot be read.

    Raises:
        CommandFailed: If nothing has been tracked there yet.
    """
    with closing(Store(file_of(_existing(store)))) as opened:
        return opened.manifests()


def _existing(store: str | None) -> str:
    url = read_settings(**({} if store is None else {"store": store})).store
    path = file_of(url)
    if not path.exists():
        raise CommandFailed([f"There is no tracker's store at {path}. Start one with: choreo track --store {url}"])
    return url


def each_saga(tracker: Tracker, **filters: Any) -> Iterator[SagaView]:
    """Yield the sagas that filters of `Tracker.sagas` let through, untyped here, page by page, the newest first."""
    after: str | None = None
    while True:
        page = tracker.sagas(**filters, limit=PAGE_SAGAS, after=after)
        yield from page.items
        after = page.next
        if after is None:
            return


def find_saga(tracker: Tracker, id_or_key: str, saga_type: str | None) -> SagaView | None:
    """Return the saga with this id, or with this business key, of this type where one is named.

    Raises:
        CommandFailed: With exit code 2, if several types have a saga with this key.
    """
    with suppress(ValueError):
        if (saga := tracker.saga(str(uuid.UUID(id_or_key)))) is not None:
            return saga
    types = [saga_type] if saga_type is not None else sorted(tracker.counts())
    sagas = [saga for each in types if (saga := tracker.find(each, id_or_key)) is not None]
    if len(sagas) > 1:
        names = " or ".join(each.saga_type for each in sagas)
        raise CommandFailed([f"{id_or_key} is the key of sagas of several types: say --type {names}"], EXIT_USAGE)
    return sagas[0] if sagas else None


def existing_saga(tracker: Tracker, id_or_key: str, saga_type: str | None) -> SagaView:
    """Return the saga with this id or business key, as `find_saga` does.

    Raises:
        CommandFailed: If the tracker knows none.
    """
    saga = find_saga(tracker, id_or_key, saga_type)
    if saga is None:
        lag = tracker.lag()
        behind = f" It is {lag.records} records behind." if lag.records else ""
        raise CommandFailed([f"The tracker knows no saga with the id or key {id_or_key}.{behind}"])
    return saga
