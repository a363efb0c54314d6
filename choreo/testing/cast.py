"""What a scenario makes of its services alone, whatever happens in it.

Declarations, codecs, what is known of their manifests and an open publisher live here, made once and handed from
scenario to scenario, for making them takes longer than most scenarios; brokers, time and memories do not. `Scenario`
takes a cast and gives it back: one scenario has it at a time, so that nothing of one run can be felt in another.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cached_property

from choreo.clock import Clock, ManualClock
from choreo.codec import Codec, Schemas
from choreo.manifest import Manifest
from choreo.publisher import Publisher
from choreo.runtime.catalog import MANIFESTS, Catalog
from choreo.runtime.topics import needed
from choreo.service import Declaration, Service, declarations
from choreo.settings import Settings
from choreo.testing.broker import MemoryBroker
from choreo.testing.loop import PrivateLoop
from choreo.testing.outside import Outside
from choreo.tracker.graph import Graph
from choreo.transport import Outgoing

IDLE_MAX = 8
"""Casts that are kept for scenarios to come."""
Key = tuple[object, ...]


class Cast:
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
        self.manifests = [Manifest.of(each) for each in self.declarations]
        self._clock = ManualClock()
        self._broker = MemoryBroker(self._clock)
        self._broker.create(needed(self.declarations, settings))
        self.outside = Outside(self._broker, self._clock)
        self.catalog = Catalog(self.outside, Schemas(), self.manifests)
        self.codecs = {each.name: _codec(each, self.catalog.schemas, settings) for each in self.declarations}
        everything = dict.fromkeys(kind for each in self.declarations for kind in each.event_types)
        self.codec = Codec(everything, self.catalog.schemas)
        """Reads the events of all of them."""
        self.publisher = Publisher(*services, settings=settings, transport=self.outside, clock=self.outside)
        with closing(PrivateLoop()) as loop:
            # It would not be opened on a thread whose event loop it might block.
            loop.call(self.publisher.open)
        self._announcements = [
            Outgoing(each.topic, each.key, each.value, each.headers) for each in self._broker.records(MANIFESTS)
        ]
        self._learned = False

    @cached_property
    def graph(self) -> Graph:
        """The choreography as the tracker asks it."""
        return Graph(self.manifests)

    def enter(self, broker: MemoryBroker, clock: Clock, write: Callable[[Outgoing], None]) -> None:
        """Play from now on with these brokers and this time; the services announce themselves.

        Args:
            broker: The brokers.
            clock: The time.
            write: Writes what the publisher publishes.
        """
        self.outside.stand(broker, clock, write)
        broker.write(self._announcements)

    async def refresh(self) -> None:
        """Look for what was announced since."""
        self._learned = True
        await self.catalog.refresh()

    def leave(self) -> None:
        """Be free for another scenario; what has learned something that is not of its services is not used again."""
        self.catalog.close()
        # Nothing of the scenario is to be kept alive.
        self.outside.stand(self._broker, self._clock)
        if not self._learned:
            with _turn:
                _idle.append(self)


_idle: deque[Cast] = deque(maxlen=IDLE_MAX)
_turn = threading.Lock()


def cast_of(services: Sequence[Service], settings: Settings) -> Cast:
    """Return a cast of these services that nobody else has.

    Raises:
        DeclarationError: If they cannot run as declared, all mistakes at once.
    """
    key = _key(services, settings)
    with _turn:
        found = next((each for each in _idle if each.key == key), None)
        if found is not None:
            _idle.remove(found)
            return found
    return Cast(services, settings)


def _key(services: Sequence[Service], settings: Settings) -> Key:
    """Return all that a cast follows from."""
    said = [each.written for each in services]
    told = [(tuple(each.handlers), tuple(each.providers), tuple(each.sagas), tuple(each.publishes)) for each in said]
    return (*services, *(each.version for each in services), *told, settings.event_bytes_max)


def _codec(declaration: Declaration, schemas: Schemas, settings: Settings) -> Codec:
    return Codec(
        declaration.event_types,
        schemas,
        event_bytes_max=settings.event_bytes_max,
        consumes=declaration.consumes,
    )
