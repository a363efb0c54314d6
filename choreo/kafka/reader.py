"""Reading whole topics without a group.

A read_committed consumer of every partition lives here; what is made of the records does not. The tracker's
follower, the catalog of manifests and `choreo events tail` read through it.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from choreo.errors import BrokerUnavailable
from choreo.kafka.connection import CALL_TIMEOUT_S, Connection
from choreo.kafka.failures import error_of, permanent
from choreo.kafka.liveness import Liveness, leave
from choreo.transport import Position, Record
from choreo.tuples import maker

_record = maker(Record)


def as_record(message: Any) -> Record:  # The client's messages are untyped.
    """Return a client's message as a record."""
    return _record(
        (
            message.topic(),
            message.partition(),
            message.offset(),
            message.key(),
            message.value(),
            message.headers() or [],
            message.timestamp()[1],
        )
    )


LEADERLESS_PAUSE_S = 0.05
_LEADERLESS = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})
_NOT_OURS = frozenset({KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART})


def bounds(connection: Connection, consumer: Consumer, position: Position) -> tuple[int, int]:
    """Return where a partition begins and ends; one that has just been made has no leader for a moment.

    Raises:
        BrokerUnavailable: If no broker says so within `CALL_TIMEOUT_S`, or one refuses to.
    """
    deadline = time.monotonic() + CALL_TIMEOUT_S
    while True:
        try:
            return consumer.get_watermark_offsets(TopicPartition(*position), timeout=CALL_TIMEOUT_S, cached=False)
        except KafkaException as error:
            if error_of(error).code() not in _LEADERLESS or time.monotonic() > deadline:
                raise BrokerUnavailable(connection.reason(error_of(error).str())) from error
            time.sleep(LEADERLESS_PAUSE_S)


class KafkaReader:
    """See `Reader`.

    Args:
        connection: The brokers.
        topics: Those that do not exist (yet) are passed over.
        offsets: Where to begin; 0 where nothing is said.

    Raises:
        BrokerUnavailable: If no broker answers; retrying helps once one does.
    """

    def __init__(self, connection: Connection, topics: Sequence[str], offsets: Mapping[Position, int]) -> None:
        self._connection = connection
        forced = {"isolation.level": "read_committed", "enable.partition.eof": True, "enable.auto.commit": False}
        chosen = {"group.id": "choreo-reader", "auto.offset.reset": "earliest", "fetch.queue.backoff.ms": 10}
        self._properties = connection.config(chosen, forced)
        self._consumer = Consumer(self._properties)
        try:
            existing = self._consumer.list_topics(timeout=CALL_TIMEOUT_S).topics
        except KafkaException as error:
            leave(self._consumer)
            raise BrokerUnavailable(connection.reason(error_of(error).str())) from error
        self._next: dict[Position, int] = {
            (topic, number): offsets.get((topic, number), 0)
            for topic in topics
            if topic in existing
            for number in existing[topic].partitions
        }
        self._passed: dict[Position, int] = {}
        # Asked about ends on a connection of its own: brokers answer one connection in turn, so on the reader's own
        # every question would wait behind a fetch that waits for records.
        self._end_consumer: Consumer | None = None
        if self._next:
            self._begin()

    def _begin(self) -> None:
        """Read on from where we are."""
        self._liveness = Liveness(self._connection, "a reader", next(iter(self._next))[0])
        self._consumer.assign([TopicPartition(*position, offset) for position, offset in self._next.items()])

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """Return what has come; see `Reader.poll`.

        Raises:
            TransportError: If the brokers refuse us; retrying does not help.
        """
        if not self._next:
            return []
        message = self._consumer.poll(timeout_s)
        if message is None:
            if self._liveness.lost(self._consumer):
                leave(self._consumer, 0.0)
                self._consumer = Consumer(self._properties)
                self._begin()
            return []
        self._liveness.hear()
        records: list[Record] = []
        for each in (message, *(self._consumer.consume(records_max - 1, 0) if records_max > 1 else ())):
            error = each.error()
            if error is None:
                records.append(as_record(each))
                self._next[each.topic(), each.partition()] = each.offset() + 1
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code.
                self._passed[each.topic(), each.partition()] = each.offset()
            # Who reads outside a group needs no right to one; a broker that just came back may not know a topic yet.
            elif error.code() not in _NOT_OURS and (refused := permanent(error, each.topic() or "")) is not None:
                raise refused
        return records

    def ends(self) -> dict[Position, int]:
        """Return where each partition ends for this reader.

        Transaction marks take offsets and are never read. A partition of which all has been read therefore ends where
        its last record did, so that a reader which has everything is 0 behind.

        Raises:
            BrokerUnavailable: If no broker answers.
        """
        ends: dict[Position, int] = {}
        if self._end_consumer is None:
            self._end_consumer = Consumer(self._properties)
        for position, following in self._next.items():
            try:
                low, high = bounds(self._connection, self._end_consumer, position)
            except BrokerUnavailable:
                # It may have lost all brokers: the next question is a new client's.
                leave(self._end_consumer, 0.0)
                self._end_consumer = None
                raise
            read_all = self._passed.get(position, -1) >= high or high <= low
            ends[position] = following if read_all else high
        return ends

    def close(self) -> None:
        """Stop reading."""
        leave(self._consumer)
        if self._end_consumer is not None:
            leave(self._end_consumer)
