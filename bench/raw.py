"""The hand-written loop that choreo is measured against.

What a careful engineer writes by hand: confluent-kafka, one transaction a batch, fastavro with logical types, pydantic
validation, six headers in and out, the same async handlers. No fence, no memory, no restore, no recovery from errors.
"""

import asyncio
import io
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import fastavro
from confluent_kafka import Consumer, Producer, TopicPartition

from choreo.event import Event
from choreo.schema import avro_schema, fingerprint

Handler = Callable[[Any], Awaitable[Event]]


def run(bootstrap: str, handlers: Mapping[type[Event], Handler], total: int, batch_max: int) -> tuple[float, float]:
    """Process `total` events; return seconds from the first record to the last commit, and processor seconds."""
    return asyncio.run(_run(bootstrap, handlers, total, batch_max))


async def _run(
    bootstrap: str, handlers: Mapping[type[Event], Handler], total: int, batch_max: int
) -> tuple[float, float]:
    run_id = uuid.uuid4().hex[:8]
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"raw-{run_id}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 10,
        }
    )
    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": f"raw-{run_id}", "linger.ms": 5, "retry.backoff.ms": 10}
    )
    producer.init_transactions()
    consumer.subscribe([each.__choreo_topic__ for each in handlers])
    readers = {each.__choreo_type__: (fastavro.parse_schema(_schema(each)), each, handlers[each]) for each in handlers}
    writers: dict[type[Event], tuple[Any, bytes]] = {}
    done, started, worked = 0, 0.0, 0.0
    offsets: dict[tuple[str, int], int] = {}
    while done < total:
        message = consumer.poll(1.0)
        if message is None:
            continue
        started, worked = started or time.perf_counter(), worked or time.process_time()
        batch = [message, *consumer.consume(batch_max - 1, 0)]
        producer.begin_transaction()
        for each in batch:
            if each.error():
                continue
            headers = dict(each.headers())
            schema, model, handler = readers[headers["ce_type"].decode()]
            value = each.value()
            event = model.model_validate(fastavro.schemaless_reader(io.BytesIO(value[10:]), schema, None))
            emitted = await handler(event)
            kind = type(emitted)
            if kind not in writers:
                found = _schema(kind)
                writers[kind] = fastavro.parse_schema(found), b"\xc3\x01" + fingerprint(found)
            parsed, prefix = writers[kind]
            body = io.BytesIO()
            fastavro.schemaless_writer(body, parsed, emitted.model_dump())
            producer.produce(
                kind.__choreo_topic__,
                key=each.key(),
                value=prefix + body.getvalue(),
                headers=[
                    ("ce_specversion", b"1.0"),
                    ("ce_id", str(uuid.uuid4()).encode()),
                    ("ce_type", kind.__choreo_type__.encode()),
                    ("ce_source", b"/raw/handler"),
                    ("ce_time", datetime.now(UTC).isoformat().encode()),
                    ("ce_sagaid", headers["ce_sagaid"]),
                ],
            )
            offsets[each.topic(), each.partition()] = each.offset() + 1
            done += 1
        positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
        producer.commit_transaction()
    elapsed = time.perf_counter() - started, time.process_time() - worked
    consumer.close()
    return elapsed


def _schema(model: type[Event]) -> dict[str, Any]:
    return avro_schema(model, model.__choreo_type__)
