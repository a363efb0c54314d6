"""Services, time and brokers in one block of a test.

What a test may do and ask lives here; which service is served next is `delivery`'s choice, what strikes it
`fault_injection`'s. The code under test is production's, from publisher to tracker. Tests use it; it is deterministic:
the same calls make the same run.
"""

import time
import uuid
import weakref
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar, Unpack

from choreo.clock import ManualClock
from choreo.errors import ChoreoError, UndecodableRecord
from choreo.event import Envelope, Event
from choreo.publisher import Publisher, Where
from choreo.service import Declaration, Service
from choreo.settings import Settings
from choreo.testing.compiled import compiled_services
from choreo.testing.delivery import RECORDS_MAX, Delivery
from choreo.testing.fault_injection import FaultInjection, RequestedFault, TransientFault
from choreo.testing.fault_plan import CALM, FaultPlan, Point, Seed
from choreo.testing.history import HistoryEntry
from choreo.testing.loop import PrivateLoop
from choreo.testing.memory_transport import MemoryBroker
from choreo.testing.saga_handle import SagaHandle
from choreo.testing.simulated_service import Environment
from choreo.topics import needed
from choreo.tracker import Follower, SagaView, Store, Tracker
from choreo.transport import Outgoing, Reader

READ_RECORDS_MAX = 10_000
_IDS = uuid.UUID("018f0000-0000-7000-8000-000000000000")
T = TypeVar("T")


class Scenario:
    """Runs services on brokers in memory, with virtual time; use it as a block.

    After the block its sagas and its tracker can still be read.

    Records are delivered oldest first; of several services that want one, those that own a saga type come last, else in
    the order given. `hold` and `delay` keep a topic back, so that others overtake it; a `seed` shuffles all of them.
    `fail`, `crash` and `duplicate` make something go wrong that goes wrong in production.

    Args:
        services: What takes part.
        park: Leave parked steps alone; otherwise `settle` raises what they were parked with.
        settings: As in production, `delivery` among them; the defaults, whatever the environment says, unless given.
        clock: Time to begin with.
        seed: Deliver in the order that this number stands for: each partition's own is kept, as on Kafka.

    Raises:
        DeclarationError: If the services cannot run as declared, all mistakes at once.
    """

    def __init__(
        self,
        *services: Service,
        park: bool = False,
        settings: Settings | None = None,
        clock: ManualClock | None = None,
        seed: int | None = None,
    ) -> None:
        self.seed = seed
        """What the order of delivery stands for; None for the oldest first."""
        self._park = park
        self._settings = settings if settings is not None else Settings.model_construct()
        self._clock = clock if clock is not None else ManualClock()
        self._compiled = compiled_services(services, self._settings)
        self._declared = {each.name: each for each in self._compiled.declarations}
        self._replaced: dict[str, dict[type, object]] = {name: {} for name in self._declared}
        self._starts = {saga.starts: saga for each in self._declared.values() for saga in each.sagas}
        self._stack = AsyncExitStack()
        self._published = 0
        self._loop: PrivateLoop | None = None
        self._reader: Reader | None = None
        self._events: dict[str, dict[str, Envelope]] = {}
        order = Seed(seed) if seed is not None else None
        self.broker = MemoryBroker(self._clock, order.pick if order is not None else None)
        """The brokers: for looking at other topics, and for doing faults to."""
        self.broker.create(needed(self._compiled.declarations, self._settings))
        self._observe()
        self._faults = FaultInjection(FaultPlan(order or Seed(0), CALM, self._settings, batches=(1,)))
        self._environment = Environment(
            self._compiled, self.broker, self._settings, self._clock, self._faults, self._happened
        )
        self.delivery = Delivery(self._environment, order, self._catch_up)
        """The services that run, and which of them is served next."""
        self._compiled.enter(self.broker, self._clock, self._write)

    def __enter__(self) -> Self:
        self._loop = PrivateLoop()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = self._opened()
        try:
            loop.run(self._stack.aclose())
        finally:
            self._loop = None
            self.broker.close()
            self._follower.close()
            self._store.close()
            self._observed = False
            loop.close()
            self._compiled.leave()

    @property
    def now(self) -> datetime:
        """The virtual time."""
        return self._clock.now()

    @property
    def tracker(self) -> Tracker:
        """A tracker that has read everything; for code under test. While its `wait` waits, the services go on."""
        if not self._observed:
            # After the block; the brokers still have all records.
            self._observe()
            weakref.finalize(self, self._store.close)
        self._catch_up()
        return self._tracker

    @property
    def publisher(self) -> Publisher:
        """A publisher of all the services; for code under test."""
        return self._compiled.publisher

    def replace(self, service: Service, kind: type[T], instance: T) -> None:
        """Let an instance stand in for a provided resource; the real provider never runs.

        Raises:
            ChoreoError: If the services have started already, or the service provides no such type.
        """
        if self.delivery.services:
            raise ChoreoError("replace() comes before the first publish(): the services have started")
        found = self._known(service)
        if found.provider(kind) is None:
            provided = ", ".join(each.type.__name__ for each in found.providers) or "nothing"
            raise ChoreoError(f"{service.name} provides no {kind.__name__}; it provides {provided}")
        self._replaced[service.name][kind] = instance

    def publish(self, event: Event, **where: Unpack[Where]) -> SagaHandle:
        """Publish from outside, as `Publisher.publish` does, and return the saga.

        Ids that are random in production are counted here.
        """
        self._start()
        saga = self._starts.get(type(event))
        self._published += 1
        counted = str(uuid.uuid5(_IDS, str(self._published)))
        if saga is None:
            where.setdefault("event_id", counted)
        elif saga.key is None and "key" not in where:
            where.setdefault("saga_id", counted)
        publisher = self._compiled.publisher
        # Code under test may have closed it; opening it again is no harm.
        self._opened().call(publisher.open)
        return self.saga(self._opened().call(lambda: publisher.publish(event, **where)))

    def saga(self, saga_id: str) -> SagaHandle:
        """Return a saga that was published elsewhere."""
        return SagaHandle(saga_id, self._view, self.events_of)

    def settle(self) -> None:
        """Deliver until nothing is left to do, jumping from timer to timer: retries, deadlines and delayed events.

        Raises:
            Exception: What a step was parked with, unless `park=True`; all the rest has been done then.
            ChoreoError: If it does not come to rest.
        """
        self._start()
        self.delivery.until(None)
        self._tell_parked()

    def step(self, service: Service | None = None, until: type[Event] | str = "") -> bool:
        """Deliver the next record, of all or of what one service has to read; return whether there was one.

        What a step is parked with is raised by the next `settle`.

        Args:
            service: The service that reads; the one whose turn it is unless given.
            until: A topic to read from, or an event class: then its topic is read until one of its kind has come.
        """
        self._start()
        name = self._name(service)
        if isinstance(until, str):
            return self.delivery.deliver(1, name, until) == 1
        while (kind := self.delivery.next_type(name, until.__choreo_topic__)) is not None:
            self.delivery.deliver(1, name, until.__choreo_topic__)
            if kind == until.__choreo_type__:
                return True
        return False

    def fire(self, service: Service) -> bool:
        """Move time on to the next timer of a service, and have it fire before all others; return whether there is one.

        As happens where the others' services are down. What a step is parked with is raised by the next `settle`.
        """
        self._start()
        return self.delivery.fire(self._known(service).name)

    def answer(self, service: Service, handler: Callable[..., object] | str, *events: Event) -> None:
        """Have a handler return these events when it is called next, without being called.

        Args:
            service: Its service.
            handler: The handler, or its name.
            events: What its hint says it may return; where that is a list or a `Later`, the events in it.

        Raises:
            ChoreoError: If the service has no such handler.
        """
        name = self._handler(service, handler)
        self._faults.requested.append(RequestedFault(service.name, name, answer=events))

    def advance(self, by: timedelta) -> None:
        """Do all that there is to do and all that falls due by then, in order, and stop there.

        `timedelta(0)` only drains: it does what is due now, and lets no time pass.

        Raises:
            Exception: As `settle`.
        """
        self._start()
        until = self._clock.now() + by
        self.delivery.until(until)
        self.delivery.wake(until)
        self._tell_parked()

    def hold(self, *topics: str, service: Service | None = None) -> None:
        """Deliver nothing from these topics, to any service or to one, so that others overtake them."""
        self.delivery.in_flight.hold(topics, self._name(service))

    def release(self, *topics: str) -> None:
        """Deliver from these topics again; from all that are held back or late if none is named."""
        self.delivery.in_flight.release(topics)

    def delay(self, *topics: str, by: timedelta, service: Service | None = None) -> None:
        """Deliver nothing from these topics until so much time has passed, to any service or to one."""
        self.delivery.in_flight.hold(topics, self._name(service), self._clock.now() + by)

    def fail(
        self,
        service: Service,
        handler: Callable[..., object] | str,
        *,
        times: int = 1,
        error: Exception | None = None,
        after: bool = False,
    ) -> None:
        """Have a handler raise when it is called next.

        Args:
            service: Its service.
            handler: The handler, or its name.
            times: How many calls of it raise.
            error: What they raise; a `TransientFault` unless given.
            after: They raise when they have run: what they did outside is done, and choreo cannot know.

        Raises:
            ChoreoError: If the service has no such handler.
        """
        name = self._handler(service, handler)
        raised = error if error is not None else TransientFault(f"{service.name}.{name} was made to fail")
        self._faults.requested.append(RequestedFault(service.name, name, times, error=raised, after=after))

    def crash(
        self,
        service: Service,
        *,
        at: Point = Point.BEFORE_COMMIT,
        handler: Callable[..., object] | str | None = None,
        times: int = 1,
    ) -> None:
        """Have a service die when it comes to a point next; it starts again from what is committed, as by `restart`.

        Args:
            service: The service.
            at: Where in an event's way.
            handler: Only in a batch that calls this handler; in any unless given.
            times: How often it dies.

        Raises:
            ChoreoError: If the service takes no part, or has no such handler.
        """
        name = self._handler(service, handler) if handler is not None else ""
        self._faults.requested.append(RequestedFault(self._known(service).name, name, times, point=at))

    def duplicate(self, kind: type[Event], *, times: int = 1) -> None:
        """Have the next events of a type come twice, the same record again: from handlers or from outside."""
        self._faults.twice[kind.__choreo_type__] += times

    def restart(self, service: Service) -> None:
        """Kill a service, uncommitted work and all, and start it again from what is committed.

        Its resources are closed and opened anew; those that were replaced stay.
        """
        self._start()
        self.delivery.restart(self._known(service).name)

    def events_of(self, saga_id: str) -> list[Envelope]:
        """Return a saga's committed events, each once, in the order of their commits."""
        if self._reader is None:
            self._reader = self.broker.reader(self._compiled.catalog.choreography.topics)
        while records := self._reader.poll(0, READ_RECORDS_MAX):
            for record in records:
                try:
                    envelope = self._compiled.codec.read(record)
                except UndecodableRecord:
                    # It is no event of any saga; the services that read it have dead-lettered it.
                    continue
                if envelope is not None:
                    self._events.setdefault(envelope.saga_id, {}).setdefault(envelope.event_id, envelope)
        return list(self._events.get(saga_id, {}).values())

    def _observe(self) -> None:
        """Begin to read all that the brokers have, into a new store."""
        self._store = Store(":memory:")
        self._follower = Follower(self._store, self.broker, self._clock)
        self._tracker = Tracker(self._store, self._clock, nap=self._nap)
        self._observed = True

    def _catch_up(self) -> None:
        self._follower.catch_up()

    def _view(self, saga_id: str) -> SagaView | None:
        return self.tracker.saga(saga_id)

    def _opened(self) -> PrivateLoop:
        if self._loop is None:
            raise ChoreoError("a scenario is a block: with Scenario(…) as s:")
        return self._loop

    def _known(self, service: Service) -> Declaration:
        found = self._declared.get(service.name)
        if found is None:
            raise ChoreoError(f"{service.name} takes no part in this scenario")
        return found

    def _name(self, service: Service | None) -> str:
        return "" if service is None else self._known(service).name

    def _handler(self, service: Service, handler: Callable[..., object] | str) -> str:
        """Return the name under which a service has a handler."""
        handlers = self._known(service).handlers
        found = next((each.name for each in handlers if handler in (each.name, each.function)), None)
        if found is None:
            known = ", ".join(each.name for each in handlers) or "none"
            raise ChoreoError(f"{service.name} has no handler {handler!r}; it has {known}")
        return found

    def _start(self) -> None:
        loop = self._opened()
        if not self.delivery.services:
            self.delivery.start(self._replaced, loop, self._stack)

    def _write(self, outgoing: Outgoing) -> None:
        """Write what comes from outside."""
        self.broker.write([outgoing])
        self._happened(HistoryEntry(self._clock.now(), "", (), (outgoing,), ()))

    def _happened(self, entry: HistoryEntry) -> None:
        """Have twice what is to come twice."""
        for each in entry.wrote:
            deliveries = self._faults.copy(each, outside=not entry.service)
            if deliveries is not None:
                self.delivery.in_flight.copy(each, deliveries)

    def _tell_parked(self) -> None:
        parked, self.delivery.parked = self.delivery.parked, []
        if parked and not self._park:
            raise parked[0]

    def _nap(self, delay_s: float) -> None:
        """Go on with the services while code under test waits for a saga; what is parked is for `settle` to raise."""
        self._start()
        if not self.delivery.deliver(RECORDS_MAX):
            time.sleep(delay_s)
        self._catch_up()
