"""Writing a batch: all of it or nothing.

The transactional producer, with every way it can fail, and the plain one for at-least-once live here; seeking back does
not (`source`). Steps 4 and 5 of docs/explanation/architecture.md's loop are this module.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from choreo.errors import BrokerUnavailable, Fenced, TransactionAborted, TransportError
from choreo.kafka.connection import Connection
from choreo.kafka.failures import Meaning, error_of, meaning, permanent
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
    "queue.buffering.max.messages": 1_000_000,
    "message.max.bytes": RECORD_BYTES_MAX,
}
Told = Callable[[KafkaError | None, Any], None]
"""What the client calls once a record is acknowledged, or is not."""
# A saga's key goes to the partition that its memory lives in, whoever writes: nobody overrides this.
_FORCED: Mapping[str, Any] = {"partitioner": "murmur2_random", "enable.idempotence": True}


class NotWritten(TransactionAborted):
    """The batch was not committed, or may not have been.

    Args:
        text: What the client said.
        refused: What no retry mends, if that is why.
        unknown: The commit may have happened, or the producer is of no use: renew it, then restore memory.
        fenced: Somebody may have this one's identity.
    """

    def __init__(
        self, text: str, *, refused: TransportError | None = None, unknown: bool = False, fenced: bool = False
    ) -> None:
        self.refused = refused
        self.unknown = unknown
        self.fenced = fenced
        super().__init__(text)


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
        self._helper = _Helper()
        self._open = False
        self._failed: KafkaException | None = None
        self._producer = self._new()

    def stage(self, records: Sequence[Outgoing]) -> int:
        """Begin the next transaction and give the client records of it, as long as it takes them without waiting.

        Returns:
            How many it took. What goes wrong is kept for that commit to raise.
        """
        if self._failed is None:
            try:
                self._begin()
                return _take(self._producer, records)
            except KafkaException as error:
                self._failed = error
        return 0

    def commit(self, commit: Commit) -> None:
        """Write a batch and the offsets that it consumed, as one transaction, with what was staged of it.

        Args:
            commit: Its token is the group's metadata, taken at the poll.

        Raises:
            NotWritten: It was not committed, or nobody knows.
            Fenced: Nothing was written, and another process is this member of the group.
        """
        failed, self._failed = self._failed, None
        try:
            if failed is not None:
                raise failed
            self._begin()
            _produce(self._producer, [*commit.changelog, *commit.outputs])
            self._send_offsets(commit.token, commit.offsets)
            # After a time-out only the same call again is allowed; an abort would conflict with it.
            _repeat(lambda: self._producer.commit_transaction(CALL_TIMEOUT_S), time.monotonic() + COMMIT_TIMEOUT_S)
            self._open = False
        except KafkaException as error:
            self._open = False
            self._recover(error)
        except (_Hung, BufferError) as error:
            # The thread that hangs keeps its producer; both are left behind.
            self._open = False
            self._helper = _Helper()
            raise NotWritten(f"a call to the brokers did not return: {error}", unknown=True) from error
        # The next one is begun on this thread, which waits anyhow, and is open when its first record is staged.
        self.stage(())

    def renew(self, timeout_s: float = INIT_TIMEOUT_S) -> None:
        """Replace the producer by a new one of the same id, which ends whatever the old one left open.

        Raises:
            BrokerUnavailable: If no broker answers within `timeout_s` seconds; retrying is safe.
            TransportError: If the brokers refuse us.
            Fenced: If somebody newer has the id.
        """
        self._open, self._failed = False, None
        self._producer = self._new(timeout_s)

    def abort(self) -> None:
        """Take back what was staged and will not be committed.

        Where that fails, the brokers do it: when the id's next producer starts, or once the transaction times out.
        """
        if self._open:
            self._open, self._failed = False, None
            with contextlib.suppress(KafkaException):
                self._producer.abort_transaction(CALL_TIMEOUT_S)

    def close(self) -> None:
        """Leave nothing open."""
        self.abort()
        self._helper.close()

    def _begin(self) -> None:
        if not self._open:
            self._producer.begin_transaction()
            self._open = True

    def _new(self, timeout_s: float = INIT_TIMEOUT_S) -> Producer:
        forced = {
            **_FORCED,
            "transactional.id": self._id,
            # A connection to a coordinator that went away is given up soon (librdkafka #5511).
            "connections.max.idle.ms": 5000,
            # A transaction lives from the first write to the commit; what a crash left open blocks readers so long.
            "transaction.timeout.ms": 20_000,
        }
        producer = Producer(self._connection.config(_CHOSEN, forced))
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                producer.init_transactions(min(CALL_TIMEOUT_S, timeout_s))
            except KafkaException as error:
                # Why the brokers cannot be reached comes to a callback, which is called when the client is polled.
                producer.poll(0)
                told = error_of(error)
                if meaning(error) is Meaning.FENCED:
                    raise Fenced(f"{self._id}: {told.str()}") from error
                if not told.retriable() or time.monotonic() > deadline:
                    raise permanent(told) or BrokerUnavailable(self._connection.reason(told.str())) from error
            else:
                return producer

    def _send_offsets(self, token: object, offsets: Mapping[Position, int]) -> None:
        positions = positions_of(offsets)
        producer = self._producer
        deadline = time.monotonic() + OFFSETS_TIMEOUT_S

        def send() -> None:
            remaining = max(deadline - time.monotonic(), 0.1)
            producer.send_offsets_to_transaction(positions, token, remaining)

        # It may hang for ever when a coordinating broker goes away (librdkafka #5511, #5456).
        _repeat(lambda: self._helper.run(send, OFFSETS_TIMEOUT_S + 1), deadline)

    def _recover(self, error: KafkaException) -> None:
        """Abort where that is possible, and raise what the batch came to."""
        what, told = meaning(error), error_of(error)
        refused = permanent(told)
        if what is Meaning.ABORT or told.txn_requires_abort():
            try:
                self._producer.abort_transaction(CALL_TIMEOUT_S)
            except KafkaException as second:
                fenced = meaning(second) is Meaning.FENCED
                text = f"the transaction could not be aborted: {told.str()}"
                raise NotWritten(text, refused=refused, unknown=True, fenced=fenced) from error
            if told.code() == KafkaError.FENCED_INSTANCE_ID:
                # The group itself says so: there is nothing to find out.
                raise Fenced(f"{self._id}: {told.str()}") from error
            raise NotWritten(told.str(), refused=refused) from error
        # Refused by produce() itself, before a broker heard of it: the transaction is open still.
        if refused is not None and not told.fatal():
            with contextlib.suppress(KafkaException):
                self._producer.abort_transaction(CALL_TIMEOUT_S)
        raise NotWritten(told.str(), refused=refused, unknown=True, fenced=what is Meaning.FENCED) from error


class PlainProducer:
    """A producer without transactions: memory is acknowledged first, then the outputs (rule 10)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.renew()

    def renew(self, timeout_s: float = INIT_TIMEOUT_S) -> None:  # noqa: ARG002 - the transaction's takes it too.
        """Replace the producer: one that met a fatal error takes no record any more. Connects to nothing yet."""
        chosen = {**_CHOSEN, "message.timeout.ms": 30_000}
        self._producer = Producer(self._connection.config(chosen, _FORCED))

    def write(self, changelog: Sequence[Outgoing], outputs: Sequence[Outgoing]) -> None:
        """Write both, in this order, each acknowledged.

        Raises:
            NotWritten: If some of it was not acknowledged; it may have been written all the same.
        """
        for records in (changelog, outputs):
            failures: list[tuple[KafkaError, str]] = []

            def told(
                error: KafkaError | None, message: Any, failures: list[tuple[KafkaError, str]] = failures
            ) -> None:  # The client's messages are untyped.
                if error is not None:
                    failures.append((error, message.topic()))

            try:
                _produce(self._producer, records, told)
            except KafkaException as error:
                first = error_of(error)
                raise NotWritten(
                    self._connection.reason(first.str()), refused=permanent(first), unknown=True
                ) from error
            except BufferError as error:
                raise NotWritten(self._connection.reason(error), unknown=True) from error
            if left := self._producer.flush(FLUSH_TIMEOUT_S):
                # Sent late, an older memory would stand behind a newer one.
                self._producer.purge()
                raise NotWritten(self._connection.reason(f"{left} records wait"), unknown=True)
            if failures:
                refused = permanent(*failures[0])
                raise NotWritten(self._connection.reason(failures[0][0].str()), refused=refused, unknown=True)

    def abort(self) -> None:
        """Nothing waits: every write was flushed."""

    def close(self) -> None:
        """Nothing waits."""


class _Hung(Exception):
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


def _repeat(call: Callable[[], object], deadline: float) -> None:
    """Make a call until it succeeds, as long as the client asks for it again.

    Raises:
        KafkaException: If it fails for good, or is not done by the deadline.
    """
    while True:
        try:
            call()
        except KafkaException as error:
            if meaning(error) is not Meaning.AGAIN or time.monotonic() > deadline:
                raise
        else:
            return


def _produce(producer: Producer, records: Sequence[Outgoing], on_delivery: Told | None = None) -> None:
    """Give the client records, waiting until it takes them.

    Raises:
        BufferError: If the brokers take nothing of what it holds.
        KafkaException: If it refuses one.
    """
    taken = _take(producer, records, on_delivery)
    deadline = time.monotonic() + BUFFER_WAIT_S
    while taken < len(records):
        if time.monotonic() > deadline:
            raise BufferError(f"{len(records) - taken} records wait")
        producer.poll(0.1)
        taken += _take(producer, records[taken:], on_delivery)


def _take(producer: Producer, records: Sequence[Outgoing], on_delivery: Told | None = None) -> int:
    """Give the client records until its buffer, which is bounded, is full; return how many it took."""
    produce: Callable[..., None] = producer.produce
    taken = 0
    with contextlib.suppress(BufferError):
        for topic, key, value, headers, partition in records:
            # By place, as the client parses fastest: callback, its other name, timestamp (0 for now), headers.
            if headers:
                produce(topic, value, key, partition, on_delivery, None, 0, headers)
            else:
                produce(topic, value, key, partition, on_delivery)
            taken += 1
    return taken


def positions_of(offsets: Mapping[Position, int]) -> list[TopicPartition]:
    """Return offsets as the client wants them."""
    return [TopicPartition(topic, number, at) for (topic, number), at in offsets.items()]
