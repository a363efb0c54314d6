"""The partitions that one consumer owns, and where each of them is read on.

Assignment and revocation, own offsets, memory restored with a partition, and going back to what is committed live here;
reading records and writing do not. `KafkaSource` has one, and both are called from one thread at a time.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from choreo.errors import BrokerUnavailable, Problem, TopicProblem, TransportError
from choreo.kafka.connection import Connection
from choreo.kafka.failures import error_of, permanent
from choreo.kafka.liveness import Liveness
from choreo.kafka.restore import restore
from choreo.transport import Position

# Longer than the brokers take to end a transaction that a crash left open.
COMMITTED_TIMEOUT_S = 60.0
COMMITTED_CALL_S = 10.0
# Before a new producer is made, which ends what the old one left open: offsets may wait for just that.
REWIND_TIMEOUT_S = 10.0
PAUSE_S = 0.1
_log = logging.getLogger("choreo.kafka")


class AssignmentState(Enum):
    """Where a consumer stands with its group."""

    JOINING = "the group has not said who owns what, or takes back what it said"
    ASSIGNED = "partitions are assigned, and not read yet: their offsets and memory are to be read first"
    READING = "what is assigned is read, which may be nothing"
    LEAVING = "the consumer leaves, and the group has yet to say who owns what"
    LEFT = "the consumer leaves, and nothing more is awaited of the group"


_MEMBER = {AssignmentState.JOINING, AssignmentState.ASSIGNED, AssignmentState.READING}
_TRANSITIONS = {
    # Nothing is taken back of who was assigned nothing, so an assignment may follow any other.
    AssignmentState.JOINING: _MEMBER | {AssignmentState.LEAVING},
    AssignmentState.ASSIGNED: _MEMBER | {AssignmentState.LEFT},
    AssignmentState.READING: _MEMBER | {AssignmentState.LEFT},
    # Who leaves never reads again.
    AssignmentState.LEAVING: {AssignmentState.LEAVING, AssignmentState.LEFT},
    AssignmentState.LEFT: {AssignmentState.LEAVING, AssignmentState.LEFT},
}


class Assignment:
    """What a consumer owns.

    Args:
        connection: The brokers.
        consumer: Whose partitions they are; it is subscribed here.
        liveness: What is known of that consumer.
        group: Consumer group, for messages.
        topics: What to read; all with one partition count.
        memory_topic: Restored when partitions are gained.
        turn: Where to count from: what was polled before is nothing to this one.
        lost: What the consumer owned in whose place this one is.
    """

    def __init__(  # noqa: PLR0913 - the source calls it, by keyword.
        self,
        connection: Connection,
        consumer: Consumer,
        liveness: Liveness,
        *,
        group: str,
        topics: Sequence[str],
        memory_topic: str,
        turn: int = 0,
        lost: Collection[int] = (),
    ) -> None:
        self._connection = connection
        self._consumer = consumer
        self._liveness = liveness
        self._group = group
        self._topics = frozenset(topics)
        self._memory_topic = memory_topic
        self.turn = turn  # Counts the changes of what is owned.
        self.offsets: dict[Position, int] = {}  # The next to read, by own bookkeeping; its keys are what is owned.
        self.state = AssignmentState.JOINING
        # What made a callback fail; an exception raised within one would lose records.
        self.failure: TransportError | None = None
        self._lost = set(lost)
        self._gained: dict[int, dict[str, bytes]] = {}
        self._assigned: list[Position] = []
        # Gained, and not read to the end since: what has come before may still be there.
        self._backlog: set[Position] = set()
        self._caught_up = False
        consumer.subscribe(
            sorted(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def move(self, offsets: Mapping[Position, int]) -> None:
        """Take note of what has been committed."""
        self.offsets |= {position: offset for position, offset in offsets.items() if position in self.offsets}

    @property
    def behind(self) -> frozenset[int]:
        """The partitions that have not been read to their ends since they were gained."""
        return frozenset(number for _, number in self._backlog)

    @property
    def changed(self) -> bool:
        """Whether something is to be reported that is no record: partitions gained or lost, or a backlog read."""
        return bool(self._gained or self._lost or self._caught_up)

    @property
    def waiting(self) -> bool:
        """Whether the group has assigned something that `place` has not begun to read."""
        return self.state is AssignmentState.ASSIGNED

    @property
    def settled(self) -> bool:
        """Whether the group has said who owns what, and has taken nothing back since."""
        return self.state not in {AssignmentState.JOINING, AssignmentState.LEAVING}

    def leave(self) -> None:
        """Take note that the consumer leaves; from now on it is asked nothing."""
        self._enter(AssignmentState.LEFT if self.settled else AssignmentState.LEAVING)

    @property
    def _leaving(self) -> bool:
        return self.state in {AssignmentState.LEAVING, AssignmentState.LEFT}

    def _enter(self, state: AssignmentState) -> None:
        if state not in _TRANSITIONS[self.state]:
            raise RuntimeError(f"{self._group}: an assignment cannot go from {self.state.name} to {state.name}")
        self.state = state

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that count as owned until the engine has been given them as lost."""
        return frozenset(self._lost | {number for _, number in self.offsets})

    def reach_end(self, position: Position) -> None:
        """Take note that a partition has been read to where it ends for a committed reader."""
        if position in self._backlog:
            self._backlog.discard(position)
            self._caught_up = True

    def take(self) -> tuple[dict[int, dict[str, bytes]], frozenset[int]]:
        """Return what was gained, with its memory, and lost since this was last called."""
        gained, lost = self._gained, frozenset(self._lost)
        self._gained, self._lost, self._caught_up = {}, set(), False
        return gained, lost

    def place(self) -> None:
        """Step 2: read what the group has assigned from where it stands, with memory restored.

        May take as long as the brokers do; where they do not answer, it is to be tried again.

        Raises:
            TopicProblem: If partitions of different topics do not fit together.
            TransportError: If the brokers refuse us; retrying does not help.
        """
        positions = self._assigned
        numbers = self._numbers(positions)
        try:
            offsets = self._committed(positions, COMMITTED_TIMEOUT_S)
            memories = restore(self._connection, self._memory_topic, numbers)
        except BrokerUnavailable as error:
            _log.warning("%s: partitions %s wait for the brokers: %s", self._group, numbers, error)
            return
        self._enter(AssignmentState.READING)
        self.offsets = offsets
        self._backlog = set(offsets)
        self._gained.update(memories)
        self._consumer.assign(self._places())

    def rewind(self, *, restoring: bool) -> None:
        """Step 5: go back to what is committed, so that what was not is read again.

        Args:
            restoring: Memory is read again too, for a commit may have happened.

        Raises:
            BrokerUnavailable: If the brokers do not answer; nothing has changed then.
        """
        positions = list(self.offsets)
        offsets = self._committed(positions, COMMITTED_TIMEOUT_S if restoring else REWIND_TIMEOUT_S)
        if restoring:
            self._gained.update(restore(self._connection, self._memory_topic, {number for _, number in positions}))
        self.offsets = offsets
        # What was polled before is read again: whatever was worked out from it is not to be committed.
        self.turn += 1
        self.seek()

    def seek(self) -> None:
        """Read on from our own offsets, whatever has been fetched."""
        try:
            for each in self._places():
                self._consumer.seek(each)
        except KafkaException:
            # A partition whose fetcher has not started yet cannot be sought in; assigned anew, all begin there. Under
            # range, an eager protocol, the client refuses to change single partitions of an assignment.
            self._consumer.assign(self._places())

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:  # noqa: ARG002 - the client's form.
        """Take note. `place` asks the brokers: a callback may come on an event loop, which is not to wait for them."""
        _log.debug("%s: assigned %s", self._group, [(each.topic, each.partition) for each in partitions])
        self.turn += 1
        # A consumer that is being closed answers nothing any more; to ask it would wait out every time-out.
        if self._leaving:
            self._enter(AssignmentState.LEFT)
        else:
            self._assigned = [(each.topic, each.partition) for each in partitions]
            self._enter(AssignmentState.ASSIGNED if partitions else AssignmentState.READING)
        self._hold()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Step 6. No commit is in flight: polls and commits are made one at a time."""
        _log.debug("%s: revoked %s", self._group, [(each.topic, each.partition) for each in partitions])
        self.turn += 1
        self._enter(AssignmentState.LEAVING if self._leaving else AssignmentState.JOINING)
        for each in partitions:
            self.offsets.pop((each.topic, each.partition), None)
            self._backlog.discard((each.topic, each.partition))
            self._lost.add(each.partition)
            self._gained.pop(each.partition, None)
        try:
            consumer.unassign()
        except KafkaException as error:
            _log.debug("%s: %s", self._group, error)

    def _hold(self) -> None:
        """Answer the group without reading anything; otherwise the client would begin to read by itself."""
        try:
            self._consumer.assign([])
        except KafkaException as error:
            _log.debug("%s: %s", self._group, error)

    def _numbers(self, positions: Iterable[Position]) -> list[int]:
        topics: dict[int, set[str]] = defaultdict(set)
        for topic, number in positions:
            topics[number].add(topic)
        if any(named != self._topics for named in topics.values()):
            problem = Problem(
                "CH081",
                f"{self._group} was given different partitions of its topics, so partition counts differ, or a process "
                "that reads other topics runs beside this one",
                fix="bring all topics of the service to one partition count, and stop its older processes",
            )
            raise TopicProblem([problem])
        return sorted(topics)

    def _committed(self, positions: Iterable[Position], timeout_s: float) -> dict[Position, int]:
        """Return the offsets to go on from; retried, for an open transaction must end first."""
        deadline = time.monotonic() + timeout_s
        wanted = [TopicPartition(*position) for position in positions]
        while wanted:
            error: KafkaError | None
            try:
                committed = self._consumer.committed(wanted, timeout=COMMITTED_CALL_S)
                error = next((each.error for each in committed if each.error is not None), None)
            except KafkaException as raised:
                committed, error = [], error_of(raised)
            if error is None:
                self._liveness.hear()
                return {(each.topic, each.partition): max(each.offset, 0) for each in committed}
            if (refused := permanent(error)) is not None:
                raise refused
            if time.monotonic() > deadline or self._liveness.lost(self._consumer):
                raise BrokerUnavailable(self._connection.reason(error.str()))
            time.sleep(PAUSE_S)
        return {}

    def _places(self) -> list[TopicPartition]:
        # Where nobody has committed yet, the first record there is, which need not be the first ever.
        return [TopicPartition(*position, offset or OFFSET_BEGINNING) for position, offset in self.offsets.items()]
