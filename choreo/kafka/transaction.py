"""Writing a batch: all of it or nothing.

The transactional producer, with every way it can fail, and the plain one for at-least-once live here; seeking back does not
(`source`). Steps 4 and 5 of docs/explanation/architecture.md's loop are this module.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaException, Producer, TopicPartition

from choreo.errors import BrokerUnavailable, Fenced, TransactionAborted
from choreo.kafka.connection import Connection
from choreo.kafka.failures import Meaning, error_of, meaning
from choreo.transport import Commit, Outgoing, Position

INIT_TIMEOUT_S = 90.0
CALL_TIMEOUT_S = 10.0
COMMIT_TIMEOUT_S = 60.0
OFFSETS_TIMEOUT_S = 10.0
FLUSH_TIMEOUT_S = 60.0
BUFFER_WAIT_S = 60.0
RECORD_BYTES_MAX = 50_000_000
_CHOSEN: Mapping[str, Any] = {
    "linger.ms": 2,
    "partitioner": "murmur2_random",
    "queue.buffering.max.messages": 1_000_000,
    "message.max.bytes": RECORD_BYTES_MAX,
}


class OutcomeUnknown(TransactionAborted):
    """The commit may have happened: memory must be restored before anything is processed again."""


class Transaction:
    """A transactional producer with a stable id.

    Args:
        connection: The brokers.
        transactional_id: Stable a process, so that its successor ends what it left open.

    Raises:
        BrokerUnavailable: If no broker answers; retrying helps once one does.
        Fenced: If another process has this id and is newer.
    """

    def __init__(self, connection: Connection, transactional_id: str) -> None:
        self._connection = connection
        self._id = transactional_id
        self._renewals = 0
        self._helper = _Helper()
        self._producer = self._new()

    def commit(self, commit: Commit) -> None:
        """Write a batch and the offsets that it consumed, as one transaction.

        Raises:
            TransactionAborted: Nothing was written.
            OutcomeUnknown: It may have been written; the producer is a new one.
            Fenced: Nothing was written, and another process has this id.
        """
        try:
            self._producer.begin_transaction()
            _produce(self._producer, (*commit.changelog, *commit.outputs), None)
            self._send_offsets(commit)
            self._commit()
        except KafkaException as error:
            self._recover(error)
        except (_Hung, BufferError) as error:
            self._helper = _Helper()
            self.renew()
            raise OutcomeUnknown(f"a call to the brokers did not return: {error}") from error
        else:
            self._renewals = 0

    def renew(self) -> None:
        """Replace the producer by a new one of the same id, which ends whatever the old one left open.

        Raises:
            BrokerUnavailable: If no broker answers in time.
            Fenced: If this had to be done before without any commit in between: somebody else has the id.
        """
        self._producer = self._new()

    def close(self) -> None:
        """Nothing is left open: a transaction that was not committed ends with the id's next producer, or by itself."""
        self._helper.close()

    def _new(self) -> Producer:
        forced = {
            "transactional.id": self._id,
            # A connection to a coordinator that went away is given up soon (librdkafka #5511).
            "connections.max.idle.ms": 5000,
            # A transaction lives from the first write to the commit alone; what a crash left open blocks readers so long.
            "transaction.timeout.ms": 20_000,
        }
        producer = Producer(self._connection.config(_CHOSEN, forced))
        deadline = time.monotonic() + INIT_TIMEOUT_S
        while True:
            try:
                producer.init_transactions(CALL_TIMEOUT_S)
            except KafkaException as error:
                told = error_of(error)
                if meaning(error) is Meaning.FENCED:
                    raise Fenced(f"{self._id}: {told.str()}") from error
                if not told.retriable() or time.monotonic() > deadline:
                    raise BrokerUnavailable(self._connection.reason(told.str())) from error
            else:
                return producer

    def _send_offsets(self, commit: Commit) -> None:
        if not commit.offsets:
            return
        positions = positions_of(commit.offsets)
        producer = self._producer

        def send() -> None:
            producer.send_offsets_to_transaction(positions, commit.token, OFFSETS_TIMEOUT_S)

        while True:
            try:
                # It may hang for ever when a coordinating broker goes away (librdkafka #5511, #5456).
                self._helper.run(send, OFFSETS_TIMEOUT_S + 2)
            except KafkaException as error:
                if meaning(error) is not Meaning.AGAIN:
                    raise
            else:
                return

    def _commit(self) -> None:
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        while True:
            try:
                self._producer.commit_transaction(CALL_TIMEOUT_S)
            except KafkaException as error:
                # After a time-out only the same call again is allowed; an abort would conflict with it.
                if meaning(error) is not Meaning.AGAIN or time.monotonic() > deadline:
                    raise
            else:
                return

    def _recover(self, error: KafkaException) -> None:
        """Leave the producer able to begin again, and raise what the batch came to."""
        what, told = meaning(error), error_of(error).str()
        if what is Meaning.ABORT:
            try:
                self._producer.abort_transaction(CALL_TIMEOUT_S)
            except KafkaException:
                self.renew()
                raise OutcomeUnknown(f"the transaction could not be aborted: {told}") from error
            raise TransactionAborted(told) from error
        if what is Meaning.FENCED:
            # It may be no more than a coordinator's time-out: one new producer finds out.
            self._renewals += 1
            if self._renewals > 1:
                raise Fenced(f"{self._id}: {told}") from error
        self.renew()
        raise OutcomeUnknown(told) from error


class PlainProducer:
    """A producer without transactions: memory is acknowledged first, then the outputs (rule 10)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        chosen = {**_CHOSEN, "message.timeout.ms": 30_000}
        self._producer = Producer(connection.config(chosen, {"enable.idempotence": True}))

    def write(self, changelog: Iterable[Outgoing], outputs: Iterable[Outgoing]) -> None:
        """Write both, in this order, each acknowledged.

        Raises:
            OutcomeUnknown: If some of it was not acknowledged; it may have been written all the same.
        """
        for records in (changelog, outputs):
            failures: list[str] = []

            def told(error: object, _message: object, failures: list[str] = failures) -> None:
                if error is not None:
                    failures.append(str(error))

            try:
                _produce(self._producer, records, told)
            except (KafkaException, BufferError) as error:
                raise OutcomeUnknown(self._connection.reason(error)) from error
            left = self._producer.flush(FLUSH_TIMEOUT_S)
            if left or failures:
                raise OutcomeUnknown(self._connection.reason(failures[0] if failures else f"{left} records wait"))

    def close(self) -> None:
        """Nothing waits: every write was flushed."""


class _Hung(Exception):  # noqa: N818 - names the condition, like all errors here.
    """A call did not return in time."""


class _Helper:
    """A thread that makes calls which may never return; once one has not, the helper is of no use any more."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="choreo-offsets", daemon=True).start()

    def run(self, call: Callable[[], None], timeout_s: float) -> None:
        """Make the call on the thread and wait for it.

        Raises:
            _Hung: If it did not return in time; it goes on in a thread that nobody waits for any more.
            Exception: What the call raised.
        """
        self._calls.put(call)
        try:
            error = self._results.get(timeout=timeout_s)
        except queue.Empty:
            raise _Hung("send_offsets_to_transaction") from None
        if error is not None:
            raise error

    def close(self) -> None:
        """Let the thread end."""
        self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is.
                self._results.put(error)
            else:
                self._results.put(None)


def _produce(producer: Producer, records: Iterable[Outgoing], told: Callable[..., None] | None) -> None:
    produce = producer.produce
    options: dict[str, Any] = {} if told is None else {"on_delivery": told}
    deadline = time.monotonic() + BUFFER_WAIT_S
    for topic, key, value, headers, partition in records:
        while True:
            try:
                if partition < 0:
                    produce(topic, value, key, headers=headers, **options)
                else:
                    produce(topic, value, key, partition, headers=headers, **options)
            except BufferError:
                # The buffer is bounded; the brokers take what is in it.
                if time.monotonic() > deadline:
                    raise
                producer.poll(0.1)
            else:
                break


def positions_of(offsets: Mapping[Position, int]) -> list[TopicPartition]:
    """Return offsets as the client wants them."""
    return [TopicPartition(topic, number, at) for (topic, number), at in offsets.items()]
