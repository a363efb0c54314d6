"""What a scenario makes of its services alone, whatever happens in it.

Declarations, codecs, what is known of their manifests and an open publisher live here, made once and handed from
scenario to scenario, for making them takes longer than most scenarios; brokers, time and memories do not. One scenario
has them at a time, so that nothing of one run can be felt in another.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime

from choreo.catalog import Catalog
from choreo.clock import Clock, ManualClock
from choreo.codec import Codec, Schemas
from choreo.errors import TopicProblem
from choreo.manifest import Manifest
from choreo.publisher import Publisher
from choreo.records import MANIFESTS
from choreo.runtime.assembly import codec_for
from choreo.service import Service, declarations
from choreo.settings import Settings
from choreo.testing.loop import PrivateLoop
from choreo.testing.memory_transport import MemoryBroker
from choreo.topics import needed
from choreo.transport import Guarantees, Outgoing, Position, Reader, Sender, Source, TopicSpec, TopicState

IDLE_MAX = 8
"""Compiled services that are kept for scenarios to come."""


class SwitchedTransport:
    """A `Transport`, its `Sender` and a `Clock`: those of whichever scenario has the publisher that stands on it.

    Args:
        broker: Where to write.
        clock: Where the time comes from.
    """

    def __init__(self, broker: MemoryBroker, clock: Clock) -> None:
        self.switch(broker, clock)

    def switch(self, broker: MemoryBroker, clock: Clock, write: Callable[[Outgoing], None] | None = None) -> None:
        """Stand for these brokers and this time from now on.

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


class CompiledServices:
    """Services, read and compiled.

    Args:
        services: The services.
        settings: How large their events may be.

    Raises:
        DeclarationError: If they cannot run as declared, all mistakes at once.
    """

    def __init__(self, services: Sequence[Service], settings: Settings) -> None:
        self.key = _key(services, settings)
        self.declarations = declarations(*services)
        manifests = [Manifest.of(declaration) for declaration in self.declarations]
        self._clock = ManualClock()
        self._broker = MemoryBroker(self._clock)
        self._broker.create(needed(self.declarations, settings))
        self._transport = SwitchedTransport(self._broker, self._clock)
        self.catalog = Catalog(self._transport, Schemas(), manifests)
        self.codecs = {each.name: codec_for(each, self.catalog.schemas, settings) for each in self.declarations}
        event_types = dict.fromkeys(kind for each in self.declarations for kind in each.event_types)
        self.codec = Codec(event_types, self.catalog.schemas)
        """Reads the events of all of them."""
        self.publisher = Publisher(*services, settings=settings, transport=self._transport, clock=self._transport)
        with closing(PrivateLoop()) as loop:
            # It would not be opened on a thread whose event loop it might block.
            loop.call(self.publisher.open)
        self._announcements = [
            Outgoing(each.topic, each.key, each.value, each.headers) for each in self._broker.records(MANIFESTS)
        ]

    def enter(self, broker: MemoryBroker, clock: Clock, write: Callable[[Outgoing], None]) -> None:
        """Belong to a scenario; the services announce themselves.

        Args:
            broker: Its brokers.
            clock: Its time.
            write: Writes what the publisher publishes.
        """
        self._transport.switch(broker, clock, write)
        broker.write(self._announcements)

    def leave(self) -> None:
        """Be free for another scenario, unless manifests of other services were read."""
        # Nothing of the scenario is to be kept alive.
        self._transport.switch(self._broker, self._clock)
        if not self.catalog.loaded:
            with _idle_lock:
                IDLE.append(self)


IDLE: deque[CompiledServices] = deque(maxlen=IDLE_MAX)
"""Compiled services that no scenario has any more, the oldest first."""
_idle_lock = threading.Lock()


def compiled_services(services: Sequence[Service], settings: Settings) -> CompiledServices:
    """Return services, compiled, for one scenario alone: made anew, or left by another scenario.

    Raises:
        DeclarationError: If they cannot run as declared, all mistakes at once.
    """
    key = _key(services, settings)
    with _idle_lock:
        found = next((each for each in IDLE if each.key == key), None)
        if found is not None:
            IDLE.remove(found)
            return found
    return CompiledServices(services, settings)


def _key(services: Sequence[Service], settings: Settings) -> tuple[object, ...]:
    """Return all that compiled services follow from."""
    written = [service.written for service in services]
    parts = [
        (tuple(each.handlers), tuple(each.providers), tuple(each.sagas), tuple(each.publishes)) for each in written
    ]
    return (*services, *(service.version for service in services), *parts, settings.event_bytes_max)
