"""The world outside of the services of a scenario.

What the publisher of a scenario stands on lives here: brokers that take its records, and a clock. Both are those of the
scenario that has the publisher now: one publisher, whose making takes longer than most scenarios, serves many of them.
What is published does not live here (`publisher`).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from choreo.clock import Clock
from choreo.errors import TopicProblem
from choreo.testing.broker import MemoryBroker
from choreo.transport import Guarantees, Outgoing, Position, Reader, Sender, Source, TopicSpec, TopicState


class Outside:
    """A `Transport`, its `Sender` and a `Clock`, all those of one scenario after another.

    Args:
        broker: Where to write.
        clock: Where the time comes from.
    """

    def __init__(self, broker: MemoryBroker, clock: Clock) -> None:
        self.stand(broker, clock)

    def stand(self, broker: MemoryBroker, clock: Clock, write: Callable[[Outgoing], None] | None = None) -> None:
        """Belong to these brokers and this time from now on.

        Args:
            broker: Where to write.
            clock: Where the time comes from.
            write: Writes one record; straight to the brokers unless given.
        """
        self._broker = broker
        self._clock = clock
        self._write = write if write is not None else lambda outgoing: broker.write([outgoing])

    def now(self) -> datetime:
        """Return the time of the scenario."""
        return self._clock.now()

    @property
    def guarantees(self) -> Guarantees:
        """What the brokers promise."""
        return self._broker.guarantees

    def source(self, *, group: str, topics: Sequence[str], memory_topic: str, delivery: str, instance: str) -> Source:
        """Join a group of the scenario's brokers."""
        return self._broker.source(
            group=group, topics=topics, memory_topic=memory_topic, delivery=delivery, instance=instance
        )

    def sender(self) -> Sender:
        """Return what writes to the scenario's brokers."""
        return self

    def reader(self, topics: Sequence[str], offsets: Mapping[Position, int] | None = None) -> Reader:
        """Read whole topics."""
        return self._broker.reader(topics, offsets)

    def describe(self, names: Sequence[str] | None = None) -> dict[str, TopicState]:
        """Return the topics that exist."""
        return self._broker.describe(names)

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics."""
        self._broker.create(specs)

    def enqueue(self, outgoing: Outgoing, done: Callable[[Exception | None], None]) -> None:
        """Write one record and say so."""
        try:
            self._write(outgoing)
        except TopicProblem as error:
            done(error)
        else:
            done(None)

    def flush(self, timeout_s: float) -> int:  # noqa: ARG002 - nothing ever waits here.
        """Return 0: nothing waits."""
        return 0

    def close(self) -> None:
        """Leave everything as it is: the scenario closes its own brokers."""
