"""Which service of a scenario is served next, what reaches it late or twice, and what time it is.

The order in which records are given to services, topics that are held back, duplicates on their way, and time moving
on from timer to timer live here; what a service makes of a batch does not (`simulated_service`), nor what a test asks
for (`scenario`). It is deterministic: oldest first, or in the order that a seed stands for.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from operator import itemgetter

from choreo.errors import ChoreoError
from choreo.testing.fault_plan import Seed
from choreo.testing.history import header
from choreo.testing.loop import PrivateLoop
from choreo.testing.memory_transport import MemoryBroker
from choreo.testing.simulated_service import Environment, SimulatedService
from choreo.transport import Outgoing, Record

RECORDS_MAX = 100_000
"""Records that one `settle` may deliver: a choreography that needs more does not come to rest."""
TIMERS_MAX = 100_000
"""Timers that one `settle` may jump to."""
FOR_GOOD = datetime.max.replace(tzinfo=UTC)


class InFlight:
    """Records between brokers and services: topics that are held back, for good or for a time, and copies to come."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        # By topic and group, until when; the group is "" where every group is kept from the topic.
        self._held: dict[tuple[str, str], datetime] = {}
        self._copies: list[tuple[int, Outgoing]] = []
        self._delivered = 0
        self.copied: Counter[str] = Counter()
        """How many copies of an event were written, by its id."""

    @property
    def next_due(self) -> datetime | None:
        """When the first late topic comes; None where none is late."""
        return min((until for until in self._held.values() if until != FOR_GOOD), default=None)

    def hold(self, topics: Iterable[str], group: str, until: datetime = FOR_GOOD) -> None:
        """Hold topics back until then, or until they are released."""
        for topic in topics:
            self._broker.hold(topic, group)
            self._held[topic, group] = max(until, self._held.get((topic, group), until))

    def release(self, topics: Collection[str]) -> None:
        """Let topics come again, late ones too; all of them if none is named."""
        self._release(place for place in self._held if not topics or place[0] in topics)

    def arrive(self, now: datetime) -> None:
        """Let topics come again that were late until now."""
        self._release(place for place, until in self._held.items() if until <= now)

    def _release(self, places: Iterable[tuple[str, str]]) -> None:
        for place in sorted(places):
            del self._held[place]
            self._broker.release(*place)

    @contextmanager
    def without(self, topics: Collection[str], group: str) -> Iterator[None]:
        """Give one service nothing from topics that it could read, as long as this lasts."""
        for topic in topics:
            self._broker.hold(topic, group)
        try:
            yield
        finally:
            for topic in topics:
                self._broker.release(topic, group)

    def copy(self, outgoing: Outgoing, deliveries: int) -> None:
        """Have a record come again, so many deliveries later, or before all is at rest."""
        self._copies.append((self._delivered + deliveries, outgoing))

    def count_delivery(self) -> None:
        """Count one more delivery, and write the copies whose turn it is."""
        self._delivered += 1
        self.write_copies(self._delivered)

    def write_copies(self, until: float = math.inf) -> bool:
        """Write the copies that are to come within so many deliveries; return whether there were any."""
        due = [outgoing for at, outgoing in self._copies if at <= until]
        self._copies = [each for each in self._copies if each[0] > until]
        for outgoing in due:
            self._broker.write([outgoing])
            self.copied[header(outgoing, "ce_id")] += 1
        return bool(due)


class Delivery:
    """Serves services, one batch at a time: the oldest record first, or in the order that a seed stands for.

    Time stands still but for what is done here. Whenever nothing is left to read for now, `when_drained` is called.
    """

    def __init__(self, environment: Environment, seed: Seed | None, when_drained: Callable[[], object]) -> None:
        self._environment = environment
        self._clock = environment.clock
        self._seed = seed
        self._when_drained = when_drained
        self.in_flight = InFlight(environment.broker)
        self.services: dict[str, SimulatedService] = {}
        """The services that run, by name; none before the start."""
        self.parked: list[Exception] = []
        """What steps were parked with."""

    def start(self, replaced: Mapping[str, Mapping[type, object]], loop: PrivateLoop, stack: AsyncExitStack) -> None:
        """Open every service, to be closed with `stack`."""
        self._loop = loop
        for declaration in self._environment.compiled.declarations:
            service = SimulatedService(declaration, self._environment, replaced[declaration.name])
            self.services[service.name] = service
        for service in self.services.values():
            loop.run(service.open(stack))

    def restart(self, name: str) -> None:
        """Kill a service and start it again."""
        self.parked += self._loop.run(self.services[name].restart())

    def until(self, until: datetime | None) -> None:
        """Do all there is to do, moving time on from timer to timer, as far as it may go."""
        for _ in range(TIMERS_MAX):
            self.drain()
            service, due = self._soonest()
            if due is None or (until is not None and due > until):
                return
            self._move(due)
            if service is not None:
                self.parked += self._loop.run(service.serve(0))
        raise ChoreoError(f"no rest after {TIMERS_MAX} timers: does a step set itself anew for ever?")

    def wake(self, now: datetime) -> None:
        """Let it be so late, and have every service do what is due."""
        self._move(now)
        for service in self.services.values():
            self.parked += self._loop.run(service.serve(0))
        self.drain()

    def drain(self) -> None:
        """Deliver until no service has anything to read."""
        if self.deliver(RECORDS_MAX) == RECORDS_MAX:
            raise ChoreoError(f"no rest after {RECORDS_MAX} records: do two handlers answer each other for ever?")
        self._when_drained()

    def fire(self, name: str) -> bool:
        """Move time on to the next timer of one service, and have it fire alone; return whether there is one."""
        service = self.services[name]
        if service.next_due is None:
            return False
        self._move(service.next_due)
        self.parked += self._loop.run(service.serve(0))
        return True

    def next_type(self, name: str, topic: str) -> str | None:
        """Return the type of what a service, or the first of all, reads next from a topic; None where it is nothing."""
        heads = [
            (sequence, place, record)
            for place, service in enumerate(self._services(name))
            for sequence, record in service.source.heads
            if record.topic == topic
        ]
        return header(min(heads, key=itemgetter(0, 1))[2], "ce_type") if heads else None

    def deliver(self, batches_max: int, name: str = "", topic: str = "") -> int:
        """Deliver so many batches at most, to all or to one service, of all topics or of one; return how many."""
        services = self._services(name)

        async def deliver() -> int:
            for delivered in range(batches_max):
                self.in_flight.count_delivery()
                following = self._next(services, topic)
                if following is None and self.in_flight.write_copies():
                    following = self._next(services, topic)
                if following is None:
                    return delivered
                service, records_max = following
                others = {head.topic for _, head in service.source.heads if topic not in {"", head.topic}}
                with self.in_flight.without(others, service.name):
                    # A test that asks for one step gets one record.
                    self.parked += await service.serve(records_max if batches_max > 1 else 1)
            return batches_max

        return self._loop.run(deliver())

    def _services(self, name: str) -> list[SimulatedService]:
        return [self.services[name]] if name else list(self.services.values())

    def _move(self, now: datetime) -> None:
        self._clock.advance(max(now - self._clock.now(), timedelta(0)))
        self.in_flight.arrive(now)

    def _soonest(self) -> tuple[SimulatedService | None, datetime | None]:
        """Return whose timer is due first, and when; no service where it is a late topic that comes first."""
        late = self.in_flight.next_due
        timers = [(due, service) for service in self.services.values() if (due := service.next_due) is not None]
        if not timers:
            return None, late
        due, service = min(timers, key=itemgetter(0))
        return (None, late) if late is not None and late < due else (service, due)

    def _next(self, services: Sequence[SimulatedService], topic: str) -> tuple[SimulatedService, int] | None:
        """Return who reads next, and how many records; None where no service has anything to read.

        Of several that want a record, those that own a saga type come last, else in the order given.
        """
        while True:
            ready = [
                (self._rank(service.name, sequence, head), service.owner, place, head)
                for place, service in enumerate(services)
                for sequence, head in service.source.heads
                if topic in {"", head.topic}
            ]
            if not ready:
                return None
            _, _, place, head = min(ready, key=itemgetter(0, 1, 2))
            service, plan = services[place], self._environment.faults.plan
            by = plan.delay(service.name, head)
            if by is None:
                return service, plan.batch_max(service.name, head)
            self.in_flight.hold([head.topic], service.name, self._clock.now() + by)

    def _rank(self, service: str, sequence: int, record: Record) -> float:
        """Return when a service reads a record, before others or behind them."""
        return sequence if self._seed is None else self._seed.rank(service, record)
