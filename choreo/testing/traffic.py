"""What comes late, and what comes twice.

Topics that are held back, for good or for a time, and duplicates that are on their way live here; who asks for them
does not. A scenario has one, and moves it on from delivery to delivery and from timer to timer.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from choreo.testing.broker import MemoryBroker
from choreo.transport import Outgoing

Held = tuple[str, str]
"""A topic, and the group that is kept from it; "" for every group."""


class Traffic:
    """Between brokers and services.

    Args:
        broker: The brokers.
    """

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._held: set[Held] = set()
        self._late: dict[Held, datetime] = {}
        self._copies: list[tuple[int, Outgoing]] = []
        self._delivered = 0
        self.copied: Counter[bytes] = Counter()
        """How many copies were put beside an event, by its id."""

    @property
    def next(self) -> datetime | None:
        """When the first late topic comes; None where none is late."""
        return min(self._late.values(), default=None)

    def hold(self, topics: Sequence[str], group: str) -> None:
        """Hold topics back until they are released."""
        for topic in topics:
            self._broker.hold(topic, group)
            self._held.add((topic, group))

    def release(self, topics: Sequence[str]) -> None:
        """Let topics come again, late ones too; all of them if none is named."""
        for each in sorted(self._held | self._late.keys()):
            if not topics or each[0] in topics:
                self._held.discard(each)
                self._late.pop(each, None)
                self._broker.release(*each)

    @contextmanager
    def aside(self, topics: Collection[str], group: str) -> Iterator[None]:
        """Let one service have nothing from topics that it could read, as long as this lasts."""
        for topic in topics:
            self._broker.hold(topic, group)
        try:
            yield
        finally:
            for topic in topics:
                self._broker.release(topic, group)

    def delay(self, topic: str, group: str, until: datetime) -> None:
        """Hold a topic back until then."""
        self._broker.hold(topic, group)
        self._late[topic, group] = max(until, self._late.get((topic, group), until))

    def copy(self, outgoing: Outgoing, deliveries: int) -> None:
        """Have a record come again, so many deliveries later, or before all is at rest."""
        self._copies.append((self._delivered + deliveries, outgoing))

    def arrive(self, now: datetime) -> None:
        """Let come what was late until now."""
        for each in sorted(each for each, until in self._late.items() if until <= now):
            del self._late[each]
            if each not in self._held:
                self._broker.release(*each)

    def move(self) -> None:
        """Count one more delivery, and write the copies whose turn it is."""
        self._delivered += 1
        if self._copies:
            self._write(self._delivered)

    def rest(self) -> bool:
        """Write the copies that are left; return whether there were any."""
        return self._write(None)

    def _write(self, upto: int | None) -> bool:
        due = [each for at, each in self._copies if upto is None or at <= upto]
        self._copies = [(at, each) for at, each in self._copies if upto is not None and at > upto]
        for each in due:
            self._broker.write([each])
            self.copied[dict(each.headers).get("ce_id", b"")] += 1
        return bool(due)
