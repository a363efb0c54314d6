"""The writers' schemas that are known here.

Finding a schema by its fingerprint lives here; reading them from topics and files does not. The runtime's catalog
adds what manifests announce, and the codec asks.
"""

import threading

from choreo.errors import IncompatibleSchema, SchemaError
from choreo.schema import Schema, fingerprint, meaning
from choreo.schema.avro import resolve


class Schemas:
    """Writers' schemas by fingerprint. Any thread may add while others read."""

    def __init__(self) -> None:
        self._by_fingerprint: dict[bytes, Schema] = {}
        self._meanings: dict[bytes, str] = {}
        self._names: set[str] = set()
        self._lock = threading.Lock()

    def add(self, schema: Schema) -> bytes:
        """Learn a schema; one that is known already changes nothing.

        Returns:
            Its fingerprint.

        Raises:
            IncompatibleSchema: If the fingerprint is known with another logical type, scale, precision or sensitive
                mark. A fingerprint says none of these, so records of the two could not be told apart.
            SchemaError: If it is no schema of an event.
        """
        node = resolve(schema)
        if node.type != "record":
            raise SchemaError(f"an event's schema is a record, not {node}")
        digest, said = fingerprint(schema), meaning(schema)
        with self._lock:
            known = self._meanings.setdefault(digest, said)
            if known != said:
                raise IncompatibleSchema(
                    f"{node.name}: its fingerprint {digest.hex()} is already out there with another logical type,"
                    " scale, precision or sensitive mark; give the field another name, or the event another name="
                )
            self._by_fingerprint.setdefault(digest, schema)
            self._names.add(node.name)
        return digest

    def get(self, digest: bytes) -> Schema | None:
        """Return the schema with this fingerprint, 8 bytes as they stand in a record."""
        return self._by_fingerprint.get(digest)

    def knows(self, type_name: str) -> bool:
        """Tell whether anybody has said that there are events of this type."""
        return type_name in self._names

    def __len__(self) -> int:
        return len(self._by_fingerprint)
