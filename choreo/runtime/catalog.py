"""What the services around us have announced.

Reading `choreo.manifests` into schemas and a graph lives here; announcing does not (`launch`, `publisher`). Engines
ask for a second look when a record has a type or fingerprint that nobody here knows yet.
"""

import asyncio
import logging
import threading
from collections.abc import Iterable

from choreo.choreography import Choreography
from choreo.codec import Schemas
from choreo.errors import SchemaError
from choreo.manifest import Manifest
from choreo.records import MANIFESTS
from choreo.transport import Reader, Transport

POLL_S = 0.2
ROUNDS_MAX = 50
RECORDS_MAX = 1000
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
        self._own = list(own)
        self._manifests = {manifest.key: manifest for manifest in self._own}
        self._reader: Reader | None = None
        self._positions: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()
        self._ours = {digest for manifest in self._own for digest in manifest.schemas}
        self.contradicted: list[SchemaError] = []
        """Why schemas of this process's own services cannot be used: what is out there means something else by them."""
        self.choreography = self._graph()
        for manifest in self._manifests.values():
            self._learn(manifest)

    def load(self) -> None:
        """Read the topic to its end; blocks for as long as the brokers need, at most some seconds."""
        with self._lock:
            if self._reader is None:
                self._reader = self._transport.reader([MANIFESTS])
            ends = self._reader.ends()
            changed = False
            for _ in range(ROUNDS_MAX):
                if all(self._positions.get(position, 0) >= end for position, end in ends.items()):
                    break
                for record in self._reader.poll(POLL_S, RECORDS_MAX):
                    self._positions[record.topic, record.partition] = record.offset + 1
                    changed = self._take(record.value) or changed
            if changed:
                self.choreography = self._graph()

    async def refresh(self) -> None:
        """Look again, off the event loop."""
        await asyncio.to_thread(self.load)

    def concerns(self, service: str, saga_type: str) -> bool:
        """Return whether a service consumes events of a saga type; True where the saga type is not known."""
        return self.choreography.concerns(service, saga_type)

    def close(self) -> None:
        """Stop reading."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _graph(self) -> Choreography:
        """The last one given wins where versions of a service differ: here, what runs in this process."""
        keys = {manifest.key for manifest in self._own}
        return Choreography([*(each for key, each in self._manifests.items() if key not in keys), *self._own])

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
                if digest in self._ours:
                    self.contradicted.append(error)
                _log.warning("a schema announced by %s is passed over: %s", manifest.key, error)
