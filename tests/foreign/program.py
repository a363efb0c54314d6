"""A program that has never heard of choreo: it starts an order and reads its events to the end.

Written from the page on the wire format, with confluent-kafka, fastavro and the standard library alone. Usage:
`program.py <brokers> <saga type> <business key>`, the start's fields as JSON on standard input; it prints one JSON line for
each committed event of the saga, and one for its end.
"""

import io
import json
import sys
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
TIMEOUT_S = 30.0
EMPTY = 0xC15D213AA4D7A795


def crc_64_avro(text: str) -> bytes:
    """The fingerprint as Avro's specification gives it, in little-endian order."""
    table = []
    for number in range(256):
        value = number
        for _ in range(8):
            value = (value >> 1) ^ (EMPTY & -(value & 1))
        table.append(value)
    fingerprint = EMPTY
    for byte in text.encode():
        fingerprint = (fingerprint >> 8) ^ table[(fingerprint ^ byte) & 0xFF]
    return fingerprint.to_bytes(8, "little")


class Brokers:
    """Reads whole topics from their beginnings, committed records only."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self._config = {
            "bootstrap.servers": servers,
            "group.id": f"foreign-{uuid.uuid4()}",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }

    def read(self, topics: list[str], enough: Any) -> list[Any]:
        """Read until `enough(records)` holds."""
        consumer = Consumer(self._config)
        found = consumer.list_topics(timeout=10).topics
        consumer.assign([TopicPartition(topic, number, 0) for topic in topics for number in found[topic].partitions])
        records: list[Any] = []
        deadline = time.monotonic() + TIMEOUT_S
        try:
            while not enough(records):
                if time.monotonic() > deadline:
                    raise SystemExit(f"nothing more came of {topics} for {TIMEOUT_S} s")
                record = consumer.poll(0.2)
                if record is None:
                    continue
                if record.error() is not None:
                    raise KafkaException(record.error())
                records.append(record)
        finally:
            consumer.close()
        return records


def manifest_of(brokers: Brokers, saga_type: str) -> dict[str, Any]:
    """Return the manifest of the service that owns a saga type."""

    def owners(records: list[Any]) -> list[dict[str, Any]]:
        manifests = [json.loads(record.value()) for record in records if record.value()]
        return [each for each in manifests if any(saga["name"] == saga_type for saga in each["sagas"])]

    return owners(brokers.read(["choreo.manifests"], owners))[-1]


def start(brokers: Brokers, manifest: dict[str, Any], saga_type: str, key: str, fields: dict[str, Any]) -> str:
    """Start a saga and return its id."""
    kind = next(saga["starts"] for saga in manifest["sagas"] if saga["name"] == saga_type)
    event = manifest["events"][kind]
    schema = fastavro.parse_schema(manifest["schemas"][event["fingerprint"]])
    fingerprint = crc_64_avro(fastavro.schema.to_parsing_canonical_form(schema))
    if fingerprint.hex() != event["fingerprint"]:
        raise SystemExit(
            f"the fingerprint of {kind} is {fingerprint.hex()}, and the manifest says {event['fingerprint']}"
        )
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema, fields)
    saga_id = uuid.uuid5(NAMESPACE, f"choreo:saga:{saga_type}:{key}")
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid.uuid5(saga_id, "start")),
        "ce_type": kind,
        "ce_source": "/a/foreign/program",
        "ce_time": datetime.now(UTC).isoformat(),
        "ce_subject": key,
        "ce_sagaid": str(saga_id),
        "ce_sagatype": saga_type,
        "content-type": "application/avro",
    }
    producer = Producer({"bootstrap.servers": brokers.servers, "partitioner": "murmur2_random"})
    value = b"\xc3\x01" + fingerprint + body.getvalue()
    # Twice is once.
    for _ in range(2):
        producer.produce(event["topic"], value, str(saga_id), headers=list(headers.items()))
    if producer.flush(TIMEOUT_S):
        raise SystemExit("the brokers did not take it")
    return str(saga_id)


def read(brokers: Brokers, manifest: dict[str, Any], saga_id: str) -> list[dict[str, Any]]:
    """Return a saga's events and its end, in the order in which they were read."""
    events = manifest["events"]
    schemas = {
        bytes.fromhex(fingerprint): fastavro.parse_schema(schema) for fingerprint, schema in manifest["schemas"].items()
    }
    topics = sorted({each["topic"] for each in events.values()} | {"choreo.ends"})

    def mine(records: list[Any]) -> list[Any]:
        return [record for record in records if record.key() == saga_id.encode()]

    def over(records: list[Any]) -> bool:
        """Whether the end has come, and whatever led there: there is no order between topics."""
        ends = [json.loads(record.value()) for record in mine(records) if record.topic() == "choreo.ends"]
        headers = [dict(record.headers()) for record in mine(records) if record.topic() != "choreo.ends"]
        seen = {each["ce_id"].decode() for each in headers}
        causes = {each["ce_causationid"].decode() for each in headers if "ce_causationid" in each}
        return bool(ends) and seen >= causes | {ends[0]["event_id"]}

    told: list[dict[str, Any]] = []
    for record in mine(brokers.read(topics, over)):
        headers = {name: value.decode() for name, value in record.headers()}
        if record.topic() == "choreo.ends":
            told.append({"end": json.loads(record.value())})
            continue
        value = record.value()
        if value[:2] != b"\xc3\x01":
            raise SystemExit(f"{record.topic()} {record.offset()}: no single-object encoding")
        body = fastavro.schemaless_reader(io.BytesIO(value[10:]), schemas[value[2:10]], None)
        told.append({"topic": record.topic(), "headers": headers, "body": body})
    return told


def main() -> None:
    """Start a saga and print all that follows."""
    servers, saga_type, key = sys.argv[1:]
    fields = json.load(sys.stdin, parse_float=Decimal)
    brokers = Brokers(servers)
    manifest = manifest_of(brokers, saga_type)
    saga_id = start(brokers, manifest, saga_type, key, fields)
    for each in read(brokers, manifest, saga_id):
        sys.stdout.write(json.dumps(each, default=str) + "\n")


if __name__ == "__main__":
    main()
