"""What services have announced about themselves.

A manifest's record, announcing it, and what all manifests on the topic come to (schemas and a graph) live here; what a
manifest says does not (`manifest`). Engines ask for a second look when a record has a type or fingerprint that is not
known yet.
"""

import asyncio
import logging
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing

from choreo.choreography import Choreography
from choreo.codec import Schemas
from choreo.errors import BrokerUnavailable, SchemaError
from choreo.manifest import Manifest
from choreo.reading import read_to_end
from choreo.records import MANIFESTS
from choreo.transport import Outgoing, Position, Transport

ANNOUNCE_TIMEOUT_S = 30.0
_log = logging.getLogger("choreo")


class Catalog:
    """The manifests on the topic, and what follows from them.

    Args:
        transport: Where to read them.
        schemas: Writer schemas, added to as manifests come.
        own: The manifests of the services in this process.
    """

    def __init__(self, transport: Transport, schemas: Schemas, own: Iterable[Manifest]) -> None:
        self._transport = transport
        self.schemas = schemas
        self._own = {manifest.key: manifest for manifest in own}
        self._manifests = dict(self._own)
        self._positions: dict[Position, int] = {}
        self._lock = threading.Lock()
        self.loaded = False  # Manifests that others announced have been looked for.
        self._own_digests = {digest for manifest in self._own.values() for digest in manifest.schemas}
        self.contradicted: list[SchemaError] = []
        """Why schemas of this process's own services cannot be used: what is out there means something else by them."""
        self.choreography = self._graph()
        for manifest in self._own.values():
            self._learn(manifest)

    def load(self) -> None:
        """Read what was announced since this was last called; blocks until all of it is read.

        Raises:
            BrokerUnavailable: If the brokers do not answer; what was read until then is kept, and retrying helps.
        """
        self.loaded = True
        with self._lock, closing(self._transport.reader([MANIFESTS], self._positions)) as reader:
            changed = False
            try:
                for record in read_to_end(reader, starts=self._positions):
                    changed = self._take(record.value) or changed
                    self._positions[record.topic, record.partition] = record.offset + 1
            finally:
                # What was read before the brokers fell silent is not read again: the graph must have it.
                if changed:
                    self.choreography = self._graph()

    async def refresh(self) -> None:
        """Look again, off the event loop; see `load`."""
        await asyncio.to_thread(self.load)

    def _graph(self) -> Choreography:
        # The last one given wins where versions of a service differ: here, what runs in this process.
        others = [manifest for key, manifest in self._manifests.items() if key not in self._own]
        return Choreography([*others, *self._own.values()])

    def _take(self, value: bytes | None) -> bool:
        if value is None:
            return False
        try:
            manifest = Manifest.from_bytes(value)
        except SchemaError as error:
            _log.warning("a manifest cannot be read and is passed over: %s", error)
            return False
        if manifest.key in self._manifests:
            return False
        self._manifests[manifest.key] = manifest
        self._learn(manifest)
        return True

    def _learn(self, manifest: Manifest) -> None:
        for digest, schema in manifest.schemas.items():
            try:
                self.schemas.add(schema)
            except SchemaError as error:
                if digest in self._own_digests:
                    self.contradicted.append(error)
                _log.warning("a schema announced by %s is passed over: %s", manifest.key, error)


def announcement(manifest: Manifest) -> Outgoing:
    """Return the record by which a service announces itself; the topic is compacted, so again is once."""
    return Outgoing(MANIFESTS, manifest.key.encode(), manifest.to_bytes(), [("content-type", b"application/json")])


def announce(manifests: Sequence[Manifest], transport: Transport) -> Catalog:
    """Read the manifests that there are, and write these if nothing there contradicts them.

    Raises:
        SchemaError: If a fingerprint of theirs is out there with another meaning.
        BrokerUnavailable: If the brokers do not answer.
    """
    catalog = Catalog(transport, Schemas(), manifests)
    catalog.load()
    if catalog.contradicted:
        raise catalog.contradicted[0]
    failures: list[Exception] = []
    with closing(transport.sender()) as sender:
        for manifest in manifests:
            sender.enqueue(announcement(manifest), lambda error: failures.append(error) if error is not None else None)
        left = sender.flush(ANNOUNCE_TIMEOUT_S)
    if left or failures:
        raise BrokerUnavailable(f"the manifests could not be announced: {failures[0] if failures else 'no answer'}")
    return catalog
