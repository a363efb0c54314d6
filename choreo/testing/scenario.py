"""Services, time and brokers in one block of a test.

The order in which records are delivered, the publishing into it and the questions a test asks live here; the code under test is
production's, from publisher to tracker. It is deterministic: the same calls make the same run.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from choreo.clock import ManualClock
from choreo.codec import Codec, Schemas
from choreo.errors import ChoreoError, DeclarationError
from choreo.event import Envelope, Event
from choreo.manifest import Manifest
from choreo.publisher import Publisher
from choreo.runtime.catalog import Catalog
from choreo.runtime.topics import needed
from choreo.saga import SagaState
from choreo.service import Service, declarations, not_yet
from choreo.settings import Settings
from choreo.testing.broker import MemoryBroker
from choreo.testing.members import Member
from choreo.tracker import Follower, Reason, SagaView, Store, Tracker

ROUNDS_MAX = 100_000
"""Records that one `settle` may deliver: a choreography that needs more does not come to rest."""
RECORDS_MAX = 1_000_000
"""Records that are looked through for one saga's events."""
T = TypeVar("T")
E = TypeVar("E", bound=Event)


class SagaHandle:
    """One saga of a scenario, as a test looks at it."""

    def __init__(self, scenario: "Scenario", saga_id: str) -> None:
        self._scenario = scenario
        self.saga_id = saga_id

    @property
    def view(self) -> SagaView:
        """The saga as the tracker shows it.

        Raises:
            ChoreoError: If the tracker has never heard of it.
        """
        view = self._scenario.tracker.saga(self.saga_id)
        if view is None:
            raise ChoreoError(f"the tracker knows no saga {self.saga_id}; call settle() after publish()")
        return view

    @property
    def state(self) -> SagaState:
        """Where it stands."""
        return self.view.state

    @property
    def events(self) -> list[Envelope]:
        """Its events as they were committed, each once, the start first."""
        return self._scenario.events_of(self.saga_id)

    @property
    def reasons(self) -> list[Reason]:
        """Why it failed, one a failure."""
        return self.view.reasons

    @property
    def emitted(self) -> list[type[Event]]:
        """The types of its events, in the same order."""
        return [type(each.event) for each in self.events]

    def event(self, kind: type[E]) -> E:
        """Return its only event of a type.

        Raises:
            LookupError: If there is none, or more than one.
        """
        found = [each.event for each in self.events if isinstance(each.event, kind)]
        if len(found) != 1:
            told = ", ".join(each.__name__ for each in self.emitted)
            raise LookupError(f"{len(found)} events of type {kind.__name__}; the saga has: {told}")
        return found[0]

    def __repr__(self) -> str:
        """Return its id and its events' types."""
        return f"<saga {self.saga_id}: {', '.join(each.__name__ for each in self.emitted)}>"


class Scenario:
    """Runs services on brokers in memory, with virtual time; use it as a block.

    Records are delivered oldest first; of several services that want one, those that own a saga type come last, else in the
    order given. `hold` keeps a topic back, so that others overtake it.

    Args:
        services: What takes part.
        park: Leave parked steps alone; otherwise `settle` raises what they were parked with.
        settings: As in production; `delivery` among them.
        clock: Time to begin with.

    Raises:
        DeclarationError: If the services cannot run as declared, all mistakes at once.
    """

    def __init__(
        self,
        *services: Service,
        park: bool = False,
        settings: Settings | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        self._declarations = declarations(*services)
        waiting = not_yet(self._declarations)
        if waiting:
            raise DeclarationError(waiting)
        self._services = services
        self._park = park
        self._settings = settings if settings is not None else Settings()
        self._clock = clock if clock is not None else ManualClock()
        self._replaced: dict[str, dict[type, object]] = {service.name: {} for service in services}
        self._members: list[Member] = []
        self._stack = AsyncExitStack()
        self._parked: list[Exception] = []
        self._held: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: ThreadPoolExecutor | None = None
        self.broker = MemoryBroker(self._clock)
        self.broker.create(needed(self._declarations, self._settings))
        self._codec = Codec({kind for each in self._declarations for kind in each.event_types}, Schemas())
        self._publisher = Publisher(*services, settings=self._settings, transport=self.broker, clock=self._clock)
        self._store = Store(":memory:")
        self._follower = Follower(self._store, self.broker, self._clock)
        self._tracker = Tracker(self._store, self._clock, nap=lambda _: self.settle())

    def __enter__(self) -> Self:
        """Open; services start with the first event."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            # A loop cannot run within a loop, so ours gets a thread of its own.
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="scenario")
        self._loop = asyncio.new_event_loop()
        self._on_thread(self._publisher.open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the services' resources, in reverse."""
        assert self._loop is not None
        try:
            self._run(self._stack.aclose())
            self._on_thread(self._publisher.close)
        finally:
            self._follower.close()
            self._store.close()
            self._on_thread(self._loop.close)
            if self._thread is not None:
                self._thread.shutdown()

    @property
    def now(self) -> datetime:
        """The virtual time."""
        return self._clock.now()

    @property
    def tracker(self) -> Tracker:
        """A tracker that has read everything; for code under test."""
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
        if found is None or all(each.type is not kind for each in found.providers):
            raise ChoreoError(f"{service.name} provides no {kind.__name__}; name the type that its provider returns")
        self._replaced[service.name][kind] = instance

    def publish(self, event: Event, **where: Any) -> SagaHandle:  # The keywords of Publisher.publish.
        """Publish from outside, as `Publisher.publish` does, and return the saga."""
        self._start()
        return SagaHandle(self, self._on_thread(lambda: self._publisher.publish(event, **where)))

    def saga(self, saga_id: str) -> SagaHandle:
        """Return a saga that was published elsewhere."""
        return SagaHandle(self, saga_id)

    def settle(self) -> None:
        """Deliver until nothing is left to do.

        Raises:
            Exception: What a step was parked with, unless `park=True`.
            ChoreoError: If it does not come to rest.
        """
        self._start()
        for _ in range(ROUNDS_MAX):
            if not self.step():
                break
        else:
            raise ChoreoError(f"no rest after {ROUNDS_MAX} records; do two handlers answer each other for ever?")
        if self._parked and not self._park:
            errors, self._parked = self._parked, []
            raise errors[0]

    def step(self) -> bool:
        """Deliver the next record, and return whether there was one."""
        self._start()
        ready = [
            (pending, each.owner, place, each)
            for place, each in enumerate(self._members)
            if (pending := each.source.pending) is not None
        ]
        if not ready:
            return False
        _, _, _, member = min(ready, key=lambda each: each[:3])
        self._parked += self._run(member.serve(1))
        return True

    def advance(self, by: timedelta) -> None:
        """Do what there is to do, move time on, and do all that falls due by then; `timedelta(0)` only drains."""
        self.settle()
        self._clock.advance(by)
        for member in self._members:
            self._parked += self._run(member.serve(0))
        self.settle()

    def hold(self, *topics: str) -> None:
        """Deliver nothing from these topics until `release`, so that others overtake them."""
        for topic in topics:
            self.broker.hold(topic)
            self._held.add(topic)

    def release(self, *topics: str) -> None:
        """Deliver from these topics again; from all that are held if none is named."""
        for topic in topics or tuple(self._held):
            self.broker.release(topic)
            self._held.discard(topic)

    def events_of(self, saga_id: str) -> list[Envelope]:
        """Return a saga's committed events, each once, in the order of their commits."""
        topics = {kind.__choreo_topic__ for each in self._declarations for kind in each.event_types}
        reader = self.broker.reader(sorted(topics))
        records = [record for record in reader.poll(0, RECORDS_MAX) if record.key == saga_id.encode()]
        found = [envelope for record in records if (envelope := self._codec.read(record)) is not None]
        return list({each.event_id: each for each in reversed(found)}.values())[::-1]

    def _start(self) -> None:
        if self._members:
            return
        if self._loop is None:
            raise ChoreoError("a scenario is a block: with Scenario(…) as s:")
        catalog = Catalog(self.broker, Schemas(), [Manifest.of(each) for each in self._declarations])
        self._members = [
            Member(
                each,
                broker=self.broker,
                catalog=catalog,
                settings=self._settings,
                clock=self._clock,
                sleep=_no_sleep,
                replaced=self._replaced[each.name],
            )
            for each in self._declarations
        ]
        for member in self._members:
            self._run(member.open(self._stack))
            self._run(member.serve(0))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        assert loop is not None
        return self._on_thread(lambda: loop.run_until_complete(work))

    def _on_thread(self, call: Callable[[], T]) -> T:
        return call() if self._thread is None else self._thread.submit(call).result()


async def _no_sleep(_: float) -> None:
    """Virtual time does not pass while a handler waits for its next attempt."""
