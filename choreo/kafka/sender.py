"""Writing from outside a handler.

An idempotent producer with a bounded buffer and a thread that serves its acknowledgements lives here; what is
written does not. The publisher and the announcement of manifests use it.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from choreo.errors import BrokerUnavailable, BufferFull, TransportError
from choreo.kafka.connection import Connection
from choreo.kafka.failures import error_of, permanent
from choreo.kafka.transaction import RECORD_BYTES_MAX
from choreo.transport import Outgoing

POLL_S = 0.1
CLOSE_TIMEOUT_S = 60.0
_log = logging.getLogger("choreo.kafka")
Done = Callable[[Exception | None], None]


class KafkaSender:
    """See `Sender`. A record is given up after `message.timeout.ms` (30 s unless set), with the client's reason."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        chosen = {
            "linger.ms": 2,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 100_000,
            "message.max.bytes": RECORD_BYTES_MAX,
            "message.timeout.ms": 30_000,
        }
        self._producer = Producer(connection.config(chosen, {"enable.idempotence": True}))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="choreo-sender", daemon=True)
        self._thread.start()

    def enqueue(self, outgoing: Outgoing, done: Done) -> None:
        """Hand one record over; see `Sender.enqueue`.

        Raises:
            BufferFull: If 100,000 records wait already (`queue.buffering.max.messages`); retrying helps.
            TransportError: If it can never be written, or the sender is closed.
        """
        if self._stop.is_set():
            raise TransportError("the sender is closed")

        def answered(error: KafkaError | None, _message: Any) -> None:  # The client's messages are untyped.
            try:
                done(None if error is None else self._failure(error, outgoing.topic))
            except Exception:  # noqa: BLE001 - told in the log.
                # Raised further, it would end the thread that serves everybody else's acknowledgements.
                _log.exception("what waited for a record of %s raised", outgoing.topic)

        # The library's own type of headers is narrower than what it takes.
        headers: Any = outgoing.headers
        try:
            self._producer.produce(
                outgoing.topic, outgoing.value, outgoing.key, outgoing.partition, headers=headers, on_delivery=answered
            )
        except BufferError as error:
            raise BufferFull("the buffer of records that the brokers have not taken yet is full") from error
        except KafkaException as error:
            raise self._failure(error_of(error), outgoing.topic) from error

    def flush(self, timeout_s: float) -> int:
        """Wait until all is acknowledged; return how many records are still waiting."""
        return int(self._producer.flush(timeout_s))

    def close(self) -> None:
        """Flush and close; what is still waiting then is told to its `done`."""
        if self._stop.is_set():
            return
        if self._producer.flush(CLOSE_TIMEOUT_S):
            self._producer.purge()
            self._producer.flush(1)
        self._stop.set()
        self._thread.join()

    def _failure(self, error: KafkaError, topic: str) -> Exception:
        return permanent(error, topic) or BrokerUnavailable(self._connection.reason(error.str()))

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(POLL_S)
