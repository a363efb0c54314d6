"""Who is served next, and what time it is.

The order in which the services of a scenario are given records, and time moving on from timer to timer, live here; what
a service makes of a batch does not (`members`), nor what a test asks for (`scenario`). It is deterministic: oldest
first, or in the order that a seed stands for.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from operator import itemgetter

from choreo.clock import ManualClock
from choreo.errors import ChoreoError
from choreo.testing.chance import Chance
from choreo.testing.faults import Faults
from choreo.testing.loop import PrivateLoop
from choreo.testing.members import Member, Stage
from choreo.testing.plan import identity
from choreo.testing.traffic import Traffic
from choreo.transport import Record

RECORDS_MAX = 100_000
"""Records that one `settle` may deliver: a choreography that needs more does not come to rest."""
TIMERS_MAX = 100_000
"""Timers that one `settle` may jump to."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Delivery:
    """Serves members, one batch at a time.

    Args:
        clock: The time, which stands still but for what is done here.
        faults: What strikes the members, and how late records come.
        traffic: What is late, and what comes twice.
        chance: What the order follows from; the oldest first without it.
        quiet: Called whenever there is nothing left to read for now.
    """

    def __init__(
        self,
        clock: ManualClock,
        faults: Faults,
        traffic: Traffic,
        chance: Chance | None,
        quiet: Callable[[], object],
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._traffic = traffic
        self._chance = chance
        self._quiet = quiet
        self._members: dict[str, Member] = {}
        self.parked: list[Exception] = []
        """What steps were parked with."""

    @property
    def started(self) -> bool:
        """Whether the services run."""
        return bool(self._members)

    @property
    def members(self) -> Mapping[str, Member]:
        """The services that run, by name."""
        return self._members

    def start(
        self, stage: Stage, replaced: Mapping[str, Mapping[type, object]], loop: PrivateLoop, stack: AsyncExitStack
    ) -> None:
        """Open every service, to be closed with `stack`."""
        self._loop = loop
        self._members = {each.name: Member(each, stage, replaced[each.name]) for each in stage.cast.declarations}
        for member in self._members.values():
            loop.run(member.open(stack))

    def pick(self, group: str, heads: Sequence[Record]) -> int:
        """Return which of these records a service reads next, where chance decides."""
        return min(range(len(heads)), key=lambda place: self._rank(group, 0, heads[place]))

    def restart(self, name: str) -> None:
        """Kill a service and start it again."""
        self.parked += self._loop.run(self._members[name].restart())

    def until(self, until: datetime | None) -> None:
        """Do all there is to do, moving time on from timer to timer, as far as it may go.

        Raises:
            ChoreoError: If it does not come to rest.
        """
        for _ in range(TIMERS_MAX):
            self.drain()
            member, due = self._soonest()
            if due is None or (until is not None and due > until):
                return
            self._move(due)
            if member is not None:
                self.parked += self._loop.run(member.serve(0))
        raise ChoreoError(f"no rest after {TIMERS_MAX} timers: does a step set itself anew for ever?")

    def wake(self, now: datetime) -> None:
        """Let it be so late, and have every service do what is due."""
        self._move(now)
        for member in self._members.values():
            self.parked += self._loop.run(member.serve(0))
        self.drain()

    def drain(self) -> None:
        """Deliver until nobody has anything to read.

        Raises:
            ChoreoError: If it does not come to rest.
        """
        if self.deliver(RECORDS_MAX) == RECORDS_MAX:
            raise ChoreoError(f"no rest after {RECORDS_MAX} records: do two handlers answer each other for ever?")
        self._quiet()

    def fire(self, name: str) -> bool:
        """Move time on to the next timer of one service, and have it fire alone; return whether there is one."""
        member = self._members[name]
        due_ms = member.engine.next_ms
        if due_ms is None:
            return False
        self._move(max(EPOCH + timedelta(milliseconds=due_ms), self._clock.now()))
        self.parked += self._loop.run(member.serve(0))
        return True

    def following(self, name: str, topic: str) -> str | None:
        """Return the type of what a service, or the first of all, reads next from a topic; None where it is nothing."""
        members = [self._members[name]] if name else list(self._members.values())
        heads = ((*head, place) for place, each in enumerate(members) for head in each.source.heads)
        first = min(((at, place, record) for at, record, place in heads if record.topic == topic), default=None)
        return (
            next((value or b"" for key, value in first[2].headers if key == "ce_type"), b"").decode() if first else None
        )

    def deliver(self, batches_max: int, name: str = "", topic: str = "") -> int:
        """Deliver so many batches at most, to all or to one service, of all topics or of one; return how many."""
        members = [self._members[name]] if name else list(self._members.values())

        async def deliver() -> int:
            for done in range(batches_max):
                self._traffic.move()
                following = self._next(members, topic)
                if following is None and self._traffic.rest():
                    following = self._next(members, topic)
                if following is None:
                    return done
                member, records_max = following
                others = {head.topic for _, head in member.source.heads if topic not in {"", head.topic}}
                with self._traffic.aside(others, member.name):
                    # Who asks for one step is given one record.
                    self.parked += await member.serve(records_max if batches_max > 1 else 1)
            return batches_max

        return self._loop.run(deliver())

    def _move(self, now: datetime) -> None:
        self._clock.advance(now - self._clock.now())
        self._traffic.arrive(now)

    def _soonest(self) -> tuple[Member | None, datetime | None]:
        """Return whose timer is due first, and when; no member where it is a late topic that comes first."""
        members = list(self._members.values())
        waits = [(due_ms, place) for place, each in enumerate(members) if (due_ms := each.engine.next_ms)]
        late = self._traffic.next
        if not waits:
            return None, late
        due_ms, place = min(waits)
        due = max(EPOCH + timedelta(milliseconds=due_ms), self._clock.now())
        return (None, late) if late is not None and late < due else (members[place], due)

    def _next(self, members: Sequence[Member], topic: str) -> tuple[Member, int] | None:
        """Return who reads next, and how many records; None where nobody has anything to read.

        Of several that want a record, those that own a saga type come last, else in the order given.
        """
        while True:
            ready = [
                (self._rank(each.name, sequence, head), each.owner, place, head)
                for place, each in enumerate(members)
                for sequence, head in each.source.heads
                if topic in {"", head.topic}
            ]
            if not ready:
                return None
            _, _, place, head = min(ready, key=itemgetter(0, 1, 2))
            member = members[place]
            by = self._faults.delay(member.name, head)
            if by is None:
                return member, self._faults.batch_max(member.name, head)
            self._traffic.delay(head.topic, member.name, self._clock.now() + by)

    def _rank(self, service: str, sequence: int, record: Record) -> float:
        """Return when a service reads a record, before others or behind them."""
        if self._chance is None:
            return sequence
        return self._chance.draw("order", service, record.topic, identity(record))
