"""One service's consumer with its producer: poll, commit, and everything that may go wrong between them.

Reading batches, committing them and what to do when that fails live here; what is owned, and from where it is read on,
is `assignment`'s, and writing is `transaction`'s. The worker makes one call at a time, those that wait on a thread of
their own. docs/explanation/architecture.md tells the loop, step by step.
"""

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException

from choreo.errors import BrokerUnavailable, Fenced, TransactionAborted
from choreo.kafka.assignment import PAUSE_S, Assignment
from choreo.kafka.connection import Connection
from choreo.kafka.failures import error_of, fences_consumer, permanent
from choreo.kafka.liveness import Liveness, leave
from choreo.kafka.reader import as_record
from choreo.kafka.transaction import NotWritten, PlainProducer, Transaction, positions_of
from choreo.transport import Batch, Commit, Record

RENEW_TIMEOUT_S = 10.0
OFFSETS_TIMEOUT_S = 20.0
SETTLE_TIMEOUT_S = 5.0
UNSETTLED_S = 0.02
NOWHERE = 1 << 63
"""Behind every offset that Kafka has."""
SESSION_MS = 8000
HEARTBEATS_A_SESSION = 8
REFUSALS_MAX = 5
_log = logging.getLogger("choreo.kafka")


@dataclass(frozen=True, slots=True)
class Ownership:
    """What a poll knew of its place in the group.

    Attributes:
        turn: Which assignment it was, counted.
        metadata: The group's own token, by which brokers refuse older generations; untyped by the library.
    """

    turn: int
    metadata: Any


class KafkaSource:
    """See `Source`.

    Args:
        connection: The brokers.
        group: Consumer group.
        topics: What to read; all with one partition count.
        memory_topic: Restored when partitions are gained.
        exactly_once: One transaction a batch; otherwise memory, outputs and offsets are acknowledged in this order.
        instance: Stable identity within the group; two equal ones fence each other.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        group: str,
        topics: Sequence[str],
        memory_topic: str,
        exactly_once: bool,
        instance: str,
    ) -> None:
        self._connection = connection
        self._group = group
        self._instance = instance
        # Step 1: a producer with a stable id ends what its predecessor left open.
        self._producer: Transaction | PlainProducer = (
            Transaction(connection, f"{group}-{instance}") if exactly_once else PlainProducer(connection)
        )
        # After a commit of which nobody knows what became, the next poll renews and rewinds before it reads.
        self._outcome_unknown = False
        self._ownership: Ownership | None = None
        self._fencings = 0
        self._refusals = 0
        session_ms = int(connection.setting("session.timeout.ms", SESSION_MS))
        heartbeat_ms = int(connection.setting("heartbeat.interval.ms", session_ms // HEARTBEATS_A_SESSION))
        self._heartbeat_s = heartbeat_ms / 1000
        chosen = {
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": heartbeat_ms,
            "max.poll.interval.ms": 300_000,
            "fetch.queue.backoff.ms": 10,
        }
        forced = {
            "group.id": group,
            "group.instance.id": instance,
            # Range gives a process the same numbers of every topic; a saga's memory lives with its number.
            "partition.assignment.strategy": "range",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            # Control records are no messages: only this mark tells that a backlog has been read (rule 23).
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
        self._properties = connection.config(chosen, forced)
        self._topics = tuple(topics)
        self._memory_topic = memory_topic
        self._join()

    def _join(self, turn: int = 0, lost: Collection[int] = ()) -> None:
        """Join the group with a new client, in place of one that owned what is `lost` with it."""
        self._liveness = Liveness(self._connection, self._group, self._topics[0])
        self._consumer = Consumer(self._properties)
        self._assignment = Assignment(
            self._connection,
            self._consumer,
            self._liveness,
            group=self._group,
            topics=self._topics,
            memory_topic=self._memory_topic,
            turn=turn,
            lost=lost,
        )

    def poll(self, timeout_s: float, records_max: int) -> Batch:
        """Return what has come; see `Source.poll`.

        While the brokers are away it returns empty batches and says so in the log: they usually come back.

        Raises:
            Fenced: If another process took this one's instance.
            TopicProblem: If partitions of different topics do not fit together.
            TransportError: If the brokers refuse us; retrying does not help.
        """
        self._raise_failure()
        if self._outcome_unknown and not self._start_anew():
            self._rejoin_if_lost()
            return self._batch([])
        owned = self._assignment
        deadline = time.monotonic() + timeout_s
        while True:
            if owned.waiting:
                owned.place()
            left_s = 0 if owned.changed else max(deadline - time.monotonic(), 0)
            # Step 3: consume(n, t) would wait all of t unless n records come. A poll within which the group assigns
            # something waits on all the same, so that none is long before it has.
            message = self._consumer.poll(left_s if owned.settled else min(left_s, UNSETTLED_S))
            records = self._read(records_max, message)
            self._raise_failure()
            # Ends of partitions are told behind nearly every record; there is nothing to do about most of them.
            if records or owned.changed or time.monotonic() >= deadline:
                break
        if not records:
            self._rejoin_if_lost()
        return self._batch(records)

    def fetch(self, records_max: int) -> Batch | None:
        """Return what has come already; see `Source.fetch`."""
        owned = self._assignment
        if self._outcome_unknown or owned.failure is not None or owned.waiting or owned.changed:
            return None
        records = self._read(records_max)
        return self._batch(records) if records else None

    def _read(self, records_max: int, first: Any = None) -> list[Record]:  # The client's messages are untyped.
        """Return what the client holds by now, behind a message that has been polled, if any."""
        turn = self._assignment.turn
        messages = [] if first is None else [first]
        if len(messages) < records_max:
            messages += self._consumer.consume(records_max - len(messages), 0)
        if messages:
            self._liveness.hear()
        # Errors among them are told once: that we are fenced may come together with what it takes from us.
        records: list[Record] = []
        expected = self._assignment.offsets
        for each in messages:
            if each.error() is not None:
                self._take_error(each)
                continue
            record = as_record(each)
            # Neither fetched before a seek, nor of a partition that has gone.
            if record[2] >= expected.get(record[:2], NOWHERE):
                records.append(record)
        if turn != self._assignment.turn:
            # Which of them were read before the assignment changed, nobody can tell: all are read again.
            self._assignment.seek()
            return []
        return records

    def _take_error(self, message: Any) -> None:  # The client's messages are untyped.
        error, topic = message.error(), message.topic() or ""
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code.
            self._assignment.reach_end((topic, message.partition()))
        elif fences_consumer(error):
            self._assignment.failure = self._fenced(error.str())
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            # The topics were checked at the start; a broker that has just come back may not know them yet.
            _log.warning("%s: the brokers do not know topic %s", self._group, topic)
        elif (refused := permanent(error, topic)) is not None:
            self._assignment.failure = refused
        else:
            _log.debug("%s: %s", self._group, error.str())

    def _batch(self, records: list[Record]) -> Batch:
        # Ownership as of now: asked for at commit time instead, it would vouch for whoever owns the partitions then.
        # Once a turn: the client answers in a thread of its own, which takes as long as twenty events do. Where the
        # group's generation is another one by the commit, the brokers refuse that, and going back begins a new turn.
        owned = self._assignment
        if self._ownership is None or self._ownership.turn != owned.turn:
            self._ownership = Ownership(owned.turn, self._consumer.consumer_group_metadata())
        return Batch(records, *owned.take(), self._ownership, owned.behind)

    def _raise_failure(self) -> None:
        if self._assignment.failure is not None:
            raise self._assignment.failure

    def stage(self, commit: Commit) -> Commit:
        """Give the client what it takes of a batch's outcome; see `Source.stage`."""
        # Without transactions all of memory is acknowledged before any output is written.
        if not isinstance(self._producer, Transaction) or not self._still_holds(commit.token):
            return commit
        records = [*commit.changelog, *commit.outputs]
        return Commit(commit.token, (), records[self._producer.stage(records) :], commit.offsets)

    def commit(self, commit: Commit) -> None:
        """Make a batch durable; see `Source.commit`.

        Raises:
            TransactionAborted: The same records come again; where the outcome is unknown, so does memory.
            Fenced: Another process took this one's instance.
            TransportError: If the brokers refuse it again and again, for a record that is too large, say.
        """
        ownership = commit.token
        if not isinstance(ownership, Ownership):
            raise TypeError("a commit carries its batch's token")
        if not self._still_holds(ownership):
            self._producer.abort()
            self._go_back(restoring=self._outcome_unknown)
            raise TransactionAborted(f"{self._group}: partitions changed hands since the poll")
        try:
            if isinstance(self._producer, Transaction):
                # Without offsets nothing would fence it, so a transaction that moves none says again where we are.
                offsets = commit.offsets or self._assignment.offsets
                self._producer.commit(Commit(ownership.metadata, commit.changelog, commit.outputs, offsets))
            else:
                self._write_plainly(self._producer, commit)
        except NotWritten as failure:
            self._retreat(failure)
        self._fencings = self._refusals = 0
        self._assignment.move(commit.offsets)

    def _still_holds(self, token: object) -> bool:
        """Return whether what a poll knew of its place in the group still holds, as far as we know."""
        return isinstance(token, Ownership) and token.turn == self._assignment.turn and not self._outcome_unknown

    def _retreat(self, failure: NotWritten) -> None:
        """Step 5: go back to what is committed, so that what was not is read again; then raise."""
        if failure.fenced:
            # Step 7: it may be no more than a coordinator's time-out. Who still owns partitions may go on, once.
            self._fencings += 1
            if self._fencings > 1 or not self._still_owner():
                raise self._fenced(str(failure)) from failure
        self._go_back(restoring=failure.unknown)
        self._refusals = self._refusals + 1 if failure.refused is not None else 0
        if failure.refused is not None and self._refusals >= REFUSALS_MAX:
            # It would come again for ever: whoever runs the service has to mend something.
            raise failure.refused from failure
        raise failure

    def _go_back(self, *, restoring: bool) -> None:
        """Go back now, or at the next poll where the producer is beyond use or the brokers do not answer."""
        if restoring:
            self._outcome_unknown = True
            return
        try:
            self._assignment.rewind(restoring=False)
        except BrokerUnavailable as error:
            _log.warning("%s: %s", self._group, error)
            self._outcome_unknown = True

    def _start_anew(self) -> bool:
        """Start anew after a commit whose outcome nobody knows; return whether the brokers let us."""
        try:
            # The new producer ends what the old one left open, so that what is read next is decided.
            self._producer.renew(RENEW_TIMEOUT_S)
            self._assignment.rewind(restoring=True)
        except BrokerUnavailable as error:
            _log.warning("%s: %s", self._group, error)
            return False
        self._outcome_unknown = False
        return True

    def _rejoin_if_lost(self) -> None:
        """Join anew where our client has lost all brokers: its group will throw it out, and it will never know."""
        if self._liveness.lost(self._consumer):
            old, owned = self._consumer, self._assignment
            owned.leave()
            self._join(owned.turn + 1, owned.owned)
            leave(old, 0.0)

    def _still_owner(self) -> bool:
        """Listen for longer than a heartbeat takes to tell; what is read meanwhile is read again."""
        deadline = time.monotonic() + 2 * self._heartbeat_s
        while time.monotonic() < deadline and self._assignment.failure is None:
            message = self._consumer.poll(self._heartbeat_s / 4)
            if message is not None and message.error() is not None:
                self._take_error(message)
        if self._assignment.failure is None and self._assignment.waiting:
            self._assignment.place()
        return self._assignment.failure is None and bool(self._assignment.offsets)

    def _fenced(self, text: str) -> Fenced:
        return Fenced(
            f"another process took the place of {self._group}, instance {self._instance}, or brokers that were away say"
            f" so: {text}. Start it again, as any supervisor does (`choreo run -w 2` is one). "
            "Each process needs an instance of its own: CHOREO_INSTANCE"
        )

    def close(self) -> None:
        """Leave: with a static identity the partitions wait for it until the session times out."""
        # An assignment that meets a closing consumer can block for ever, Python's lock held: await it first.
        owned = self._assignment
        owned.leave()
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while not owned.settled and owned.failure is None and time.monotonic() < deadline:
            self._consumer.poll(PAUSE_S)
        leave(self._consumer)
        self._producer.close()

    def _write_plainly(self, producer: PlainProducer, commit: Commit) -> None:
        producer.write(commit.changelog, commit.outputs)
        if not commit.offsets:
            return
        positions = positions_of(commit.offsets)
        deadline = time.monotonic() + OFFSETS_TIMEOUT_S
        while True:
            error: KafkaError | None
            try:
                committed = self._consumer.commit(offsets=positions, asynchronous=False)
                # One partition's refusal raises nothing.
                error = next((each.error for each in committed or () if each.error is not None), None)
            except KafkaException as raised:
                error = error_of(raised)
            if error is None:
                return
            if fences_consumer(error):
                raise self._fenced(error.str())
            if not error.retriable() or time.monotonic() > deadline:
                raise NotWritten(error.str(), refused=permanent(error), unknown=True)
            time.sleep(PAUSE_S)
