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
from choreo.manifest import Manifest
from choreo.publisher import Publisher
from choreo.records import MANIFESTS
from choreo.runtime.assembly import codec_for
from choreo.service import Service, declarations
from choreo.settings import Settings
from choreo.testing.loop import PrivateLoop
from choreo.testing.memory_transport import MemoryBroker
from choreo.testing.memory_transport.memory_broker import MemorySender
from choreo.topics import needed
from choreo.transport import Outgoing, Position, Reader, Sender, TopicState

IDLE_MAX = 8
"""Compiled services that are kept for scenarios to come."""


class SwitchedBroker(MemoryBroker):
    """Brokers and a `Clock`: those of whichever scenario has the catalog and the publisher that stand on them."""

    def switch(self, broker: MemoryBroker, clock: Clock, write: Callable[[Outgoing], None]) -> None:
        """Stand for these brokers and this time from now on; what is published is handed to `write`."""
        self._broker, self._now, self._write = broker, clock.now, write

    def now(self) -> datetime:
        """Return the time of the scenario."""
        return self._now()

    def describe(self, names: Sequence[str] | None = None) -> dict[str, TopicState]:
        """Return the topics of the scenario."""
        return self._broker.describe(names)

    def reader(self, topics: Sequence[str], offsets: Mapping[Position, int] | None = None) -> Reader:
        """Read whole topics of the scenario."""
        return self._broker.reader(topics, offsets)

    def sender(self) -> Sender:
        """Open a way to write into whichever scenario it is by then."""
        return MemorySender(lambda outgoing: self._write(outgoing))  # noqa: PLW0108 - another one after each switch.


class CompiledServices:
    """Services, read and compiled; settings say how large their events may be.

    Raises:
        DeclarationError: If they cannot run as declared, all mistakes at once.
    """

    def __init__(self, services: Sequence[Service], settings: Settings) -> None:
        self.key = _key(services, settings)
        self.declarations = declarations(*services)
        manifests = [Manifest.of(declaration) for declaration in self.declarations]
        self._idle = MemoryBroker(ManualClock())
        self._idle.create(needed(self.declarations, settings))
        self._transport = SwitchedBroker()
        self._rest()
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
            Outgoing(each.topic, each.key, each.value, each.headers) for each in self._idle.records(MANIFESTS)
        ]

    def enter(self, broker: MemoryBroker, clock: Clock, write: Callable[[Outgoing], None]) -> None:
        """Belong to a scenario, which writes what the publisher publishes; the services announce themselves."""
        self._transport.switch(broker, clock, write)
        broker.write(self._announcements)

    def leave(self) -> None:
        """Be free for another scenario, unless manifests of other services were read."""
        self._rest()
        if not self.catalog.loaded:
            with _idle_lock:
                IDLE.append(self)

    def _rest(self) -> None:
        """Stand on brokers of its own, so that nothing of a scenario is kept alive."""
        self._transport.switch(self._idle, ManualClock(), lambda outgoing: self._idle.write([outgoing]))


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
