"""A consumer group: who reads which partitions, and how far.

Membership, range assignment by partition number and committed offsets live here; reading and writing do not. Every
source belongs to one group and asks it at each poll, under the broker's lock.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, IntEnum

from choreo.testing.memory_transport.partition_log import LogTransaction
from choreo.transport import Position

Member = Hashable
"""A source; a group only tells one from another."""


class CommitTrouble(Enum):
    """What may happen to a commit."""

    ABORTED = "nothing of it happened"
    UNANSWERED = "it happened, and nobody was told"
    CRASHED = "the process died within it"


class Reached(IntEnum):
    """How far a commit came before trouble: memory, then outputs, then offsets."""

    MEMORY = 1
    OUTPUTS = 2
    OFFSETS = 3


@dataclass(frozen=True, slots=True)
class CommitFault:
    """Trouble waiting for the next commit, or none."""

    trouble: CommitTrouble | None = None
    reached: Reached = Reached.OFFSETS


class ConsumerGroup:
    """Who reads which partitions.

    Partitions are assigned by number, so that a member has the same numbers of every topic. One that changes hands is
    taken by its new owner only once the old one has polled, left or died: a member loses no partition in mid-batch,
    unless it is taken for dead.
    """

    def __init__(self) -> None:
        self.committed: dict[Position, int] = {}
        self.faults: deque[CommitFault] = deque()
        self.members: dict[str, Member] = {}
        """Who reads, by instance."""
        self.holders: dict[int, Member] = {}
        """Who has which partition."""
        self.unfinished: list[LogTransaction] = []
        """What processes left open when they died, until a member takes over."""

    def join(self, instance: str, member: Member) -> Member | None:
        """Add a member; return the one with the same instance that it replaces, if any."""
        replaced = self.members.get(instance)
        if replaced is not None:
            self.leave(instance, replaced)
        self.members[instance] = member
        return replaced

    def leave(self, instance: str, member: Member) -> None:
        """Remove a member; what it held is free at once."""
        if self.members.get(instance) is member:
            del self.members[instance]
        self.holders = {number: holder for number, holder in self.holders.items() if holder is not member}

    def share(self, instance: str, partitions: int) -> set[int]:
        """Return the partition numbers that a member is to have, as Kafka's range assignor gives them."""
        ordered = sorted(self.members)
        place = ordered.index(instance)
        size, larger = divmod(partitions, len(ordered))
        begin = place * size + min(place, larger)
        return set(range(begin, begin + size + (place < larger)))

    def hold(self, number: int, member: Member) -> bool:
        """Take a partition over; False while another member still has it."""
        # What a dead member left unfinished ends before its successor reads on; Kafka's times out.
        for transaction in self.unfinished:
            transaction.abort()
        self.unfinished.clear()
        return self.holders.setdefault(number, member) is member

    def release(self, number: int, member: Member) -> None:
        """Give a partition up."""
        if self.holders.get(number) is member:
            del self.holders[number]
