"""What the services that run have announced.

Reading the manifests off the brokers lives here; what they are compared with does not. `check --against` and
`schema check` call this: they need every version there was, where an engine needs the merged graph (`runtime.catalog`).
"""

import time
from contextlib import closing
from typing import TYPE_CHECKING

from choreo.cli.brokers import Brokers, connect
from choreo.cli.output import note

if TYPE_CHECKING:
    from choreo.manifest import Manifest

POLL_S = 0.2
RECORDS_MAX = 500
READING_S_MAX = 60.0
"""Longest that it may take to read all manifests."""


def running_manifests(brokers: Brokers) -> list["Manifest"]:
    """Return every manifest on the brokers, those that were announced last behind all others; nothing on new brokers.

    Args:
        brokers: What the command line said about them.

    Raises:
        BrokerUnavailable: If none answers, or not to the end.
    """
    from choreo.errors import BrokerUnavailable, SchemaError
    from choreo.manifest import Manifest
    from choreo.runtime.catalog import MANIFESTS

    found: dict[bytes | None, Manifest] = {}
    with closing(connect(brokers.settings())) as transport, closing(transport.reader([MANIFESTS])) as reader:
        positions: dict[tuple[str, int], int] = {}
        until = time.monotonic() + READING_S_MAX
        while any(positions.get(each, 0) < end for each, end in reader.ends().items()):
            if time.monotonic() > until:
                raise BrokerUnavailable(f"{MANIFESTS} could not be read to its end in {READING_S_MAX:g} s; try again")
            for record in reader.poll(POLL_S, RECORDS_MAX):
                positions[record.topic, record.partition] = record.offset + 1
                found.pop(record.key, None)
                if record.value is None:
                    continue
                try:
                    found[record.key] = Manifest.from_bytes(record.value)
                except SchemaError as error:
                    note(f"a manifest cannot be read and is passed over: {error}")
    if not found:
        note("No service has announced itself on these brokers: there is nothing to compare with.")
    return list(found.values())


def newest(manifests: list["Manifest"]) -> dict[str, "Manifest"]:
    """Return for each service what it announced last, which is what runs."""
    return {each.service: each for each in manifests}
