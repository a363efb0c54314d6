"""Reading memory back when partitions are gained.

The read of a compacted topic to its end lives here; what the values mean does not. The source calls it on
assignment, and again after a commit whose outcome is unknown.
"""

import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from choreo.errors import BrokerUnavailable
from choreo.kafka.connection import CALL_TIMEOUT_S, Connection
from choreo.kafka.failures import error_of, permanent
from choreo.kafka.liveness import leave

RESTORE_TIMEOUT_S = 300.0
STILL_TIMEOUT_S = 60.0
"""Longer than the brokers take to end a transaction that a crash left open: a client to which nothing comes for so long
is one to be replaced (see `liveness`), by trying again."""
POLL_S = 1.0
PAUSE_S = 0.1
RECORDS_MAX = 10_000
_GROUP = "choreo-restore"
_UNKNOWN_YET = frozenset(
    {
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - librdkafka's own codes.
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
_HARMLESS = _UNKNOWN_YET | {KafkaError.GROUP_AUTHORIZATION_FAILED}


def restore(connection: Connection, topic: str, partitions: Iterable[int]) -> dict[int, dict[str, bytes]]:
    """Return the latest committed value of every key, a partition.

    It reads to where the partition ends for an uncommitted reader: up to the committed end alone, values of a
    transaction that commits right after would be missed. An open transaction that a crash left behind is waited out.

    Raises:
        BrokerUnavailable: If the end is not reached within `RESTORE_TIMEOUT_S`, or nothing comes for `STILL_TIMEOUT_S`;
            retrying helps once brokers are back.
    """
    numbers = sorted(partitions)
    memories: dict[int, dict[str, bytes]] = {number: {} for number in numbers}
    ends = _uncommitted_ends(connection, topic, numbers)
    left = {number for number, end in ends.items() if end > 0}
    if not left:
        return memories
    forced = {"isolation.level": "read_committed", "enable.partition.eof": True, "enable.auto.commit": False}
    settings = {
        "group.id": _GROUP,
        "auto.offset.reset": "earliest",
        "fetch.queue.backoff.ms": 5,
        "queued.max.messages.kbytes": 262_144,
        "fetch.wait.max.ms": 100,
    }
    consumer = Consumer(connection.config(settings, forced))
    still = began = time.monotonic()
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in sorted(left)])
        while left:
            now = time.monotonic()
            if now - began > RESTORE_TIMEOUT_S or now - still > STILL_TIMEOUT_S:
                reason = f"the memory in {topic} could not be read to its end, in partitions {sorted(left)}"
                raise BrokerUnavailable(connection.reason(reason))
            message = consumer.poll(POLL_S)
            if message is None:
                continue
            still = now
            for each in (message, *consumer.consume(RECORDS_MAX, 0)):
                _take(each, memories, ends, left)
    finally:
        leave(consumer)
    return memories


def _take(message: Any, memories: dict[int, dict[str, bytes]], ends: dict[int, int], left: set[int]) -> None:
    """Take one record in, or note that a partition has been read far enough; the client's messages are untyped."""
    number = message.partition()
    error = message.error()
    if error is not None:
        # Control records are no messages: only the end-of-partition mark tells that they have been passed.
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code.
            if message.offset() >= ends[number]:
                left.discard(number)
        # The group is named for form alone, so no right to it is needed.
        elif error.code() not in _HARMLESS and (refused := permanent(error, message.topic())) is not None:
            raise refused
        return
    value, key = message.value(), message.key()
    # A foreign key is nobody's saga; it must not keep the others' memory from being read.
    saga_id = (key or b"").decode(errors="replace")
    if value is None:
        memories[number].pop(saga_id, None)
    else:
        memories[number][saga_id] = value
    if message.offset() + 1 >= ends[number]:
        left.discard(number)


def _uncommitted_ends(connection: Connection, topic: str, numbers: list[int]) -> dict[int, int]:
    forced = {"isolation.level": "read_uncommitted", "enable.auto.commit": False}
    consumer = Consumer(connection.config({"group.id": _GROUP}, forced))
    deadline = time.monotonic() + STILL_TIMEOUT_S
    ends: dict[int, int] = {}
    try:
        for number in numbers:
            while number not in ends:
                try:
                    low, high = consumer.get_watermark_offsets(
                        TopicPartition(topic, number), timeout=CALL_TIMEOUT_S, cached=False
                    )
                    # A partition that was emptied has its end where it begins: there is nothing to wait for.
                    ends[number] = high if high > low else 0
                except KafkaException as error:
                    cause = error_of(error)
                    # The topic was there at the start; brokers that have just come back may not know it yet.
                    if cause.code() not in _UNKNOWN_YET and (refused := permanent(cause, topic)) is not None:
                        raise refused from error
                    if time.monotonic() > deadline:
                        raise BrokerUnavailable(connection.reason(cause.str())) from error
                    time.sleep(PAUSE_S)
    finally:
        leave(consumer)
    return ends
