"""One service's consumer with its producer: poll, commit, and everything that may go wrong between them.

Assignment, own offsets, restoring and seeking back live here; writing lives in `transaction`, reading memory in `restore`. The
worker calls it from one thread. The loop it is part of is told, step by step, in docs/explanation/architecture.md.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from choreo.errors import BrokerUnavailable, Fenced, Problem, TopicProblem, TransactionAborted
from choreo.kafka.connection import CALL_TIMEOUT_S, Connection
from choreo.kafka.failures import error_of, fences_consumer
from choreo.kafka.reader import as_record
from choreo.kafka.restore import restore
from choreo.kafka.transaction import OutcomeUnknown, PlainProducer, Transaction, positions_of
from choreo.transport import Batch, Commit, Position

REWIND_TIMEOUT_S = 120.0
_log = logging.getLogger("choreo.kafka")


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

    def __init__(  # noqa: PLR0913 - the transport calls it once, by keyword.
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
        self._topics = frozenset(topics)
        self._memory_topic = memory_topic
        # Step 1: a producer with a stable id ends what its predecessor left open.
        self._transaction = Transaction(connection, f"{group}-{instance}") if exactly_once else None
        self._plain = None if exactly_once else PlainProducer(connection)
        self._offsets: dict[Position, int] = {}
        self._lost: set[int] = set()
        self._gained: dict[int, dict[str, bytes]] = {}
        self._failure: Exception | None = None
        chosen = {
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 2000,
            "max.poll.interval.ms": 300_000,
            "fetch.queue.backoff.ms": 10,
            "partition.assignment.strategy": "range",
        }
        forced = {
            "group.id": group,
            "group.instance.id": instance,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
        self._consumer = Consumer(connection.config(chosen, forced))
        self._consumer.subscribe(
            sorted(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def poll(self, timeout_s: float, records_max: int) -> Batch:
        """Return what has come; see `Source.poll`.

        Raises:
            Fenced: If another process took this one's instance.
            BrokerUnavailable: If partitions were gained and their memory cannot be read.
        """
        # Step 3: consume(n, t) would wait all of t unless n records come.
        message = self._consumer.poll(timeout_s)
        messages = [] if message is None else [message]
        if message is not None and records_max > 1:
            messages += self._consumer.consume(records_max - 1, 0)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        batch = Batch(gained=self._gained, lost=frozenset(self._lost))
        self._gained, self._lost = {}, set()
        for each in messages:
            error = each.error()
            if error is not None:
                if fences_consumer(error):
                    raise Fenced(f"{self._group}: {error.str()}")
                _log.debug("%s: %s", self._group, error.str())
                continue
            record = as_record(each)
            # A record fetched before a seek, or of a partition that has gone, is not ours to process.
            expected = self._offsets.get((record.topic, record.partition))
            if expected is not None and record.offset >= expected:
                batch.records.append(record)
        # Ownership as of now: asked for at commit time instead, it would vouch for whoever owns the partitions then.
        batch.token = self._consumer.consumer_group_metadata()
        return batch

    def commit(self, commit: Commit) -> None:
        """Make a batch durable; see `Source.commit`."""
        try:
            if self._transaction is not None:
                self._transaction.commit(commit)
            else:
                self._write_plainly(commit)
        except OutcomeUnknown:
            self._rewind(restoring=True)
            raise
        except TransactionAborted:
            self._rewind(restoring=False)
            raise
        for position, offset in commit.offsets.items():
            if position in self._offsets:
                self._offsets[position] = offset

    def close(self) -> None:
        """Leave: with a static identity the partitions wait for it until the session times out."""
        self._consumer.close()
        if self._transaction is not None:
            self._transaction.close()

    def _write_plainly(self, commit: Commit) -> None:
        assert self._plain is not None
        self._plain.write(commit.changelog, commit.outputs)
        if not commit.offsets:
            return
        try:
            self._consumer.commit(offsets=positions_of(commit.offsets), asynchronous=False)
        except KafkaException as error:
            raise OutcomeUnknown(error_of(error).str()) from error

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Step 2. An exception raised in a callback would lose records, so it is kept for `poll` to raise."""
        try:
            numbers = self._numbers(partitions)
            committed = self._committed(consumer, partitions)
            for number, memory in restore(self._connection, self._memory_topic, numbers).items():
                self._gained[number] = memory
            consumer.assign(committed)
            self._offsets = {(each.topic, each.partition): max(each.offset, 0) for each in committed}
        except Exception as error:  # noqa: BLE001 - raised by `poll`.
            self._failure = error

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Step 6. No commit is in flight: polls and commits are made by one thread."""
        try:
            for each in partitions:
                self._offsets.pop((each.topic, each.partition), None)
                self._lost.add(each.partition)
                self._gained.pop(each.partition, None)
            consumer.unassign()
        except Exception as error:  # noqa: BLE001 - raised by `poll`.
            self._failure = error

    def _numbers(self, partitions: Sequence[TopicPartition]) -> list[int]:
        topics: dict[int, set[str]] = defaultdict(set)
        for each in partitions:
            topics[each.partition].add(each.topic)
        if any(found != self._topics for found in topics.values()):
            raise TopicProblem(
                [
                    Problem(
                        "CH081",
                        f"{self._group} was given different partitions of its topics, so partition counts differ",
                        "",
                        "bring all topics of the service to one partition count",
                    )
                ]
            )
        return sorted(topics)

    def _committed(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Return partitions with the offsets to go on from; retried, for an open transaction must end first."""
        deadline = time.monotonic() + REWIND_TIMEOUT_S
        wanted = [TopicPartition(each.topic, each.partition) for each in partitions]
        while wanted:
            try:
                found = consumer.committed(wanted, timeout=CALL_TIMEOUT_S)
            except KafkaException as error:
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(self._connection.reason(error_of(error).str())) from error
                continue
            if all(each.error is None for each in found):
                return [
                    TopicPartition(each.topic, each.partition, each.offset if each.offset >= 0 else OFFSET_BEGINNING)
                    for each in found
                ]
            if time.monotonic() > deadline:
                raise BrokerUnavailable(self._connection.reason(next(each.error for each in found if each.error)))
        return []

    def _rewind(self, *, restoring: bool) -> None:
        """Step 5: go back to what is committed, so that what was not is read again."""
        owned = [TopicPartition(*position) for position in self._offsets]
        if not owned:
            return
        committed = self._committed(self._consumer, owned)
        if restoring:
            numbers = sorted({each.partition for each in owned})
            self._gained.update(restore(self._connection, self._memory_topic, numbers))
        for each in committed:
            self._seek(each)
            self._offsets[each.topic, each.partition] = max(each.offset, 0)

    def _seek(self, position: Any) -> None:
        """Seek one partition; one whose fetcher has not started yet is assigned anew instead."""
        try:
            self._consumer.seek(position)
        except KafkaException:
            self._consumer.incremental_unassign([TopicPartition(position.topic, position.partition)])
            self._consumer.incremental_assign([position])
