"""Services, time and brokers in one block of a test.

The order in which records are delivered, publishing and the questions a test asks live here; the code under test is
production's, from publisher to tracker. Tests use it; it is deterministic: the same calls make the same run.
"""

import random
import time
import uuid
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar, Unpack

from choreo.clock import ManualClock
from choreo.codec import Codec, Schemas
from choreo.errors import ChoreoError, DeclarationError, UndecodableRecord
from choreo.event import Envelope, Event
from choreo.manifest import Manifest
from choreo.publisher import Publisher, Where
from choreo.runtime.catalog import Catalog
from choreo.runtime.topics import needed
from choreo.service import Service, declarations, not_yet
from choreo.settings import Settings
from choreo.testing.broker import MemoryBroker
from choreo.testing.handle import SagaHandle
from choreo.testing.loop import PrivateLoop
from choreo.testing.members import Member
from choreo.tracker import Follower, Store, Tracker
from choreo.transport import Reader

RECORDS_MAX = 100_000
"""Records that one `settle` may deliver: a choreography that needs more does not come to rest."""
TIMERS_MAX = 100_000
"""Timers that one `settle` may jump to."""
READ_RECORDS_MAX = 10_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IDS = uuid.UUID("018f0000-0000-7000-8000-000000000000")
T = TypeVar("T")


class Scenario:
    """Runs services on brokers in memory, with virtual time; use it as a block.

    Records are delivered oldest first; of several services that want one, those that own a saga type come last, else in
    the order given. `hold` keeps a topic back, so that others overtake it; a `seed` shuffles all of them.

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
        self._declarations = declarations(*services)
        if waiting := not_yet(self._declarations):
            raise DeclarationError(waiting)
        self.seed = seed
        """What the order of delivery stands for; None for the oldest first."""
        self._park = park
        self._settings = settings if settings is not None else Settings.model_construct()
        self._clock = clock if clock is not None else ManualClock()
        self._chance = random.Random(seed) if seed is not None else None  # noqa: S311 - an order, not a secret.
        self._replaced: dict[str, dict[type, object]] = {each.name: {} for each in self._declarations}
        self._members: list[Member] = []
        self._stack = AsyncExitStack()
        self._parked: list[Exception] = []
        self._held: set[tuple[str, str]] = set()
        self._published = 0
        self._loop: PrivateLoop | None = None
        self._reader: Reader | None = None
        self._events: dict[str, dict[str, Envelope]] = {}
        self._starts = {saga.starts: saga for each in self._declarations for saga in each.sagas}
        self._codec = Codec({kind for each in self._declarations for kind in each.event_types}, Schemas())
        self.broker = MemoryBroker(self._clock, self._chance.randrange if self._chance is not None else None)
        """The brokers: for looking at other topics, and for doing faults to."""
        self.broker.create(needed(self._declarations, self._settings))
        self._publisher = Publisher(*services, settings=self._settings, transport=self.broker, clock=self._clock)
        self._store = Store(":memory:")
        self._follower = Follower(self._store, self.broker, self._clock)
        self._tracker = Tracker(self._store, self._clock, nap=self._nap)

    def __enter__(self) -> Self:
        self._loop = PrivateLoop()
        self._loop.call(self._publisher.open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = self._opened()
        try:
            loop.run(self._stack.aclose())
            loop.call(self._publisher.close)
        finally:
            self.broker.close()
            self._follower.close()
            self._store.close()
            loop.close()

    @property
    def now(self) -> datetime:
        """The virtual time."""
        return self._clock.now()

    @property
    def tracker(self) -> Tracker:
        """A tracker that has read everything; for code under test. While its `wait` waits, the services go on."""
        self._follower.catch_up()
        return self._tracker

    @property
    def publisher(self) -> Publisher:
        """A publisher of all the services; for code under test."""
        return self._publisher

    def replace(self, service: Service, kind: type[T], instance: T) -> None:
        """Let an instance stand in for a provided resource; the real provider never runs.

        Raises:
            ChoreoError: If the services have started already, or the service provides no such type.
        """
        if self._members:
            raise ChoreoError("replace() comes before the first publish(): the services have started")
        found = next((each for each in self._declarations if each.name == service.name), None)
        if found is None:
            raise ChoreoError(f"{service.name} takes no part in this scenario")
        if found.provider(kind) is None:
            told = ", ".join(each.type.__name__ for each in found.providers) or "nothing"
            raise ChoreoError(f"{service.name} provides no {kind.__name__}; it provides {told}")
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
        publisher = self._publisher
        # Code under test may have closed it; opening it again is no harm.
        self._opened().call(publisher.open)
        return SagaHandle(self, self._opened().call(lambda: publisher.publish(event, **where)))

    def saga(self, saga_id: str) -> SagaHandle:
        """Return a saga that was published elsewhere."""
        return SagaHandle(self, saga_id)

    def settle(self) -> None:
        """Deliver until nothing is left to do, jumping from timer to timer: retries, deadlines and delayed events.

        Raises:
            Exception: What a step was parked with, unless `park=True`; all the rest has been done then.
            ChoreoError: If it does not come to rest.
        """
        self._until(None)
        self._tell()

    def step(self, service: Service | None = None) -> bool:
        """Deliver the next record, of all or of what one service has to read; return whether there was one.

        What a step is parked with is raised by the next `settle`.
        """
        self._start()
        return self._deliver(1, service) == 1

    def advance(self, by: timedelta) -> None:
        """Do all that there is to do and all that falls due by then, in order, and stop there.

        `timedelta(0)` only drains: it does what is due now, and lets no time pass.

        Raises:
            Exception: As `settle`.
        """
        until = self._clock.now() + by
        self._until(until)
        self._clock.advance(until - self._clock.now())
        for member in self._members:
            self._parked += self._opened().run(member.serve(0))
        self._drain()
        self._tell()

    def hold(self, *topics: str, service: Service | None = None) -> None:
        """Deliver nothing from these topics, to any service or to one, so that others overtake them."""
        group = service.name if service is not None else ""
        for topic in topics:
            self.broker.hold(topic, group)
            self._held.add((topic, group))

    def release(self, *topics: str) -> None:
        """Deliver from these topics again; from all that are held if none is named."""
        for topic, group in [each for each in self._held if not topics or each[0] in topics]:
            self.broker.release(topic, group)
            self._held.discard((topic, group))

    def restart(self, service: Service) -> None:
        """Kill a service, uncommitted work and all, and start it again from what is committed.

        Its resources are closed and opened anew; those that were replaced stay.
        """
        self._start()
        member = next((each for each in self._members if each.name == service.name), None)
        if member is None:
            raise ChoreoError(f"{service.name} takes no part in this scenario")
        self._opened().run(member.restart())

    def events_of(self, saga_id: str) -> list[Envelope]:
        """Return a saga's committed events, each once, in the order of their commits."""
        if self._reader is None:
            topics = {kind.__choreo_topic__ for each in self._declarations for kind in each.event_types}
            self._reader = self.broker.reader(sorted(topics))
        while records := self._reader.poll(0, READ_RECORDS_MAX):
            for record in records:
                try:
                    envelope = self._codec.read(record)
                except UndecodableRecord:
                    # It is no event of any saga; the services that read it have dead-lettered it.
                    continue
                if envelope is not None:
                    self._events.setdefault(envelope.saga_id, {}).setdefault(envelope.event_id, envelope)
        return list(self._events.get(saga_id, {}).values())

    def _opened(self) -> PrivateLoop:
        if self._loop is None:
            raise ChoreoError("a scenario is a block: with Scenario(…) as s:")
        return self._loop

    def _start(self) -> None:
        loop = self._opened()
        if self._members:
            return
        catalog = Catalog(self.broker, Schemas(), [Manifest.of(each) for each in self._declarations])
        self._stack.callback(catalog.close)
        self._members = [
            Member(
                each,
                broker=self.broker,
                catalog=catalog,
                settings=self._settings,
                clock=self._clock,
                replaced=self._replaced[each.name],
            )
            for each in self._declarations
        ]
        for member in self._members:
            loop.run(member.open(self._stack))

    def _until(self, until: datetime | None) -> None:
        """Do all there is to do, moving time on from timer to timer, as far as it may go."""
        self._start()
        for _ in range(TIMERS_MAX):
            self._drain()
            waits = [(due_ms, place) for place, each in enumerate(self._members) if (due_ms := each.engine.next_ms)]
            if not waits:
                return
            due_ms, place = min(waits)
            due = max(EPOCH + timedelta(milliseconds=due_ms), self._clock.now())
            if until is not None and due > until:
                return
            self._clock.advance(due - self._clock.now())
            self._parked += self._opened().run(self._members[place].serve(0))
        raise ChoreoError(f"no rest after {TIMERS_MAX} timers: does a step set itself anew for ever?")

    def _drain(self) -> None:
        if self._deliver(RECORDS_MAX) == RECORDS_MAX:
            raise ChoreoError(f"no rest after {RECORDS_MAX} records: do two handlers answer each other for ever?")
        self._follower.catch_up()

    def _tell(self) -> None:
        parked, self._parked = self._parked, []
        if parked and not self._park:
            raise parked[0]

    def _deliver(self, records_max: int, service: Service | None = None) -> int:
        """Deliver so many records at most, and return how many there were."""
        members = [each for each in self._members if service is None or each.name == service.name]
        if not members:
            raise ChoreoError(f"{service.name if service else 'no service'} takes no part in this scenario")

        async def deliver() -> int:
            for done in range(records_max):
                member = self._next(members)
                if member is None:
                    return done
                self._parked += await member.serve(1)
            return records_max

        return self._opened().run(deliver())

    def _next(self, members: list[Member]) -> Member | None:
        ready = [
            (pending, each.owner, place)
            for place, each in enumerate(members)
            if (pending := each.source.pending) is not None
        ]
        if not ready:
            return None
        return members[(self._chance.choice(ready) if self._chance is not None else min(ready))[2]]

    def _nap(self, delay_s: float) -> None:
        """Go on with the services while code under test waits for a saga; what is parked is for `settle` to raise."""
        self._start()
        if not self._deliver(RECORDS_MAX):
            time.sleep(delay_s)
        self._follower.catch_up()
