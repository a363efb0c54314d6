"""One service's consumer and producer, in memory.

Polling with rebalances, and committing with everything that may go wrong in between, live here; what is stored does
not (`memory_cluster`). Workers and scenarios get one from `MemoryBroker.source`.
"""

from collections.abc import Sequence

from choreo.errors import Fenced, TopicProblem, TransactionAborted
from choreo.testing.memory_transport.consumer_group import CommitFault, CommitTrouble
from choreo.testing.memory_transport.memory_cluster import Head, MemoryCluster
from choreo.transport import Batch, Commit, Position


class MemorySource:
    """See `Source`; `MemoryBroker.source` makes it, and says what it takes."""

    def __init__(
        self,
        cluster: MemoryCluster,
        group: str,
        topics: Sequence[str],
        memory_topic: str,
        instance: str,
        *,
        exactly_once: bool,
    ) -> None:
        self.group = group
        self.instance = instance
        self._cluster = cluster
        self._memory_topic = memory_topic
        self._exactly_once = exactly_once
        with cluster.changed:
            self._group = cluster.group(group)
            self._topics = {topic: cluster.partitions(topic) for topic in topics}
            self._share_of = max(self._topics.values(), default=0)
            self.owned: set[int] = set()
            """The partition numbers that it had at its last poll."""
            self._again: set[int] = set()
            self._next: dict[Position, int] = {}
            self._backlog: dict[Position, int] = {}
            self._token = object()
            self._over = ""
            replaced = self._group.join(instance, self)
            if isinstance(replaced, MemorySource):
                replaced.end(f"another process has taken over as {instance}")

    @property
    def heads(self) -> list[Head]:
        """What a poll may begin with: the next record of each partition that has one."""
        return self._cluster.heads(self._next, self.group)

    def poll(self, timeout_s: float, records_max: int) -> Batch:
        """Return what has come; see `Source.poll`."""
        batch = Batch()
        with self._cluster.changed:
            self._cluster.changed.wait_for(lambda: self._read(batch, records_max), timeout_s)
            batch.token = self._token
            batch.behind = self._still_behind()
        return batch

    def fetch(self, records_max: int) -> Batch | None:
        """Return what has come already; see `Source.fetch`."""
        with self._cluster.changed:
            if self._over or self._again or self._group.members.get(self.instance) is not self:
                return None
            if self.owned != self._group.share(self.instance, self._share_of):
                return None
            records = self._cluster.fetch(self._next, records_max, self.group)
            return Batch(records, token=self._token, behind=self._still_behind()) if records else None

    def stage(self, commit: Commit) -> Commit:
        """Return the commit as it is; see `Source.stage`: brokers in memory are never waited for."""
        return commit

    def commit(self, commit: Commit) -> None:
        """Make a batch durable; see `Source.commit`."""
        with self._cluster.changed:
            self._refuse_if_over()
            mine = all(self._group.holders.get(number) is self for _, number in commit.offsets)
            if commit.token is not self._token or not mine:
                raise Fenced(f"{self.group}: what this batch came from has changed hands")
            fault = self._group.faults.popleft() if self._group.faults else CommitFault()
            try:
                write = self._cluster.commit_at_once if self._exactly_once else self._cluster.commit_in_turn
                write(self._group, commit, fault)
                self._suffer(fault)
            except TopicProblem:
                self._seek_back()
                raise
            finally:
                self._cluster.changed.notify_all()

    def close(self) -> None:
        """Leave the group; closing twice is fine."""
        self.end("this source is closed")

    def end(self, why: str) -> None:
        """Leave the group, and refuse everything from now on, but for closing."""
        with self._cluster.changed:
            self._over = self._over or f"{self.group}: {why}"
            self._next = {}
            self.expire()

    def expire(self) -> None:
        """Be taken for dead, as after a session time-out; it is noticed at the next poll."""
        with self._cluster.changed:
            self._group.leave(self.instance, self)
            self._token = object()
            self._cluster.changed.notify_all()

    def _read(self, batch: Batch, records_max: int) -> bool:
        """Have a batch hold what has come; return whether that is anything."""
        self._refuse_if_over()
        self._rebalance(batch)
        batch.records = self._cluster.fetch(self._next, records_max, self.group)
        return bool(batch.records or batch.gained or batch.lost)

    def _refuse_if_over(self) -> None:
        if self._over:
            raise Fenced(self._over)

    def _rebalance(self, batch: Batch) -> None:
        """Let go of what others are to have, then take what is free and ours."""
        group = self._group
        before = self.owned
        if group.members.get(self.instance) is not self:
            if self.instance in group.members:
                self.end(f"another process has taken over as {self.instance}")
                self._refuse_if_over()
            group.join(self.instance, self)
            self.owned = set()
        share = group.share(self.instance, self._share_of)
        kept = self.owned & share
        lost = before - kept
        for number in lost:
            group.release(number, self)
        gained = {number for number in share - kept if group.hold(number, self)}
        self.owned = kept | gained
        for position in [each for each in self._next if each[1] in lost]:
            del self._next[position]
        self._seek_back(gained)
        self._backlog |= {
            each: self._cluster.log(each).end_for(at) for each, at in self._next.items() if each[1] in gained
        }
        gained |= self._again & self.owned
        self._again = set()
        if lost or gained:
            self._token = object()
            # A poll that waits may see several changes; it returns how each partition ends up.
            batch.lost = batch.lost | lost
            still = {number: memory for number, memory in batch.gained.items() if number not in lost}
            batch.gained = still | self._cluster.restore(self._memory_topic, sorted(gained))
            self._cluster.changed.notify_all()

    def _still_behind(self) -> frozenset[int]:
        """Return the partitions that have not been read to where they ended when they were gained."""
        if self._backlog:
            self._backlog = {
                each: end for each, end in self._backlog.items() if each in self._next and self._next[each] < end
            }
        return frozenset(number for _, number in self._backlog)

    def _seek_back(self, numbers: set[int] | None = None) -> None:
        """Stand where the group has committed, in these partitions or in all that are owned."""
        for number in sorted(self.owned if numbers is None else numbers):
            for topic, partitions in self._topics.items():
                if number < partitions:
                    self._next[topic, number] = self._group.committed.get((topic, number), 0)

    def _suffer(self, fault: CommitFault) -> None:
        if fault.trouble is None:
            return
        if fault.trouble is CommitTrouble.CRASHED:
            self.end("this process died in the middle of a commit")
            self._refuse_if_over()
        if fault.trouble is CommitTrouble.UNANSWERED:
            # What happened is unknown, so memory is read again before anything else is done.
            self._again = set(self.owned)
        self._seek_back()
        raise TransactionAborted(f"{self.group}: {fault.trouble.value}")
