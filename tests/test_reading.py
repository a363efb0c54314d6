"""A topic is read to its end, whatever lies there, and for no longer than brokers answer."""

import pytest

from choreo import reading
from choreo.catalog import Catalog
from choreo.clock import ManualClock
from choreo.codec import Schemas
from choreo.errors import BrokerUnavailable
from choreo.manifest import Manifest
from choreo.records import MANIFESTS
from choreo.service import Service, declarations
from choreo.testing import MemoryBroker
from choreo.transport import Outgoing, Position, Record, TopicSpec


class SlowReader:
    """Brokers that say where a topic ends, and send what is there only after so many polls."""

    def __init__(self, records: list[Record], *, silent_polls: int) -> None:
        self._records = records
        self._silent_polls = silent_polls

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        self._silent_polls -= 1
        if self._silent_polls >= 0:
            return []
        found, self._records = self._records[:records_max], self._records[records_max:]
        return found

    def ends(self) -> dict[Position, int]:
        return {("orders", 0): 2}

    def close(self) -> None: ...


RECORDS = [Record("orders", 0, offset, b"k", b"v", [], 0) for offset in range(3)]


def test_slow_brokers_are_waited_for_and_what_comes_behind_the_end_is_left():
    assert list(reading.read_to_end(SlowReader(RECORDS, silent_polls=100))) == RECORDS[:2]


def test_silence_beyond_the_bound_is_said_to_be_the_brokers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "SILENCE_S_MAX", 0.0)
    with pytest.raises(BrokerUnavailable, match="orders could not be read to its end"):
        list(reading.read_to_end(SlowReader(RECORDS, silent_polls=1000)))


def test_a_catalog_reads_on_from_where_brokers_fell_silent(monkeypatch: pytest.MonkeyPatch):
    broker = MemoryBroker(ManualClock())
    broker.create([TopicSpec(MANIFESTS, 1)])
    broker.write([Outgoing(MANIFESTS, b"x@1", b"no manifest", [])])
    catalog = Catalog(broker, Schemas(), [])
    with monkeypatch.context() as slow:
        slow.setattr(reading, "SILENCE_S_MAX", 0.0)
        slow.setattr(broker, "reader", lambda *_: SlowReader([], silent_polls=1000))
        with pytest.raises(BrokerUnavailable):
            catalog.load()
    catalog.load()


def test_a_catalog_knows_what_it_read_before_brokers_fell_silent(monkeypatch: pytest.MonkeyPatch):
    [declared] = declarations(Service("prices"))
    manifest = Manifest.of(declared)
    broker = MemoryBroker(ManualClock())
    broker.create([TopicSpec(MANIFESTS, 1)])
    first = Record(MANIFESTS, 0, 0, manifest.key.encode(), manifest.to_bytes(), [], 0)
    catalog = Catalog(broker, Schemas(), [])
    monkeypatch.setattr(reading, "SILENCE_S_MAX", 0.0)
    slow = SlowReader([first], silent_polls=0)
    monkeypatch.setattr(slow, "ends", lambda: {(MANIFESTS, 0): 2})
    monkeypatch.setattr(broker, "reader", lambda *_: slow)
    with pytest.raises(BrokerUnavailable):
        catalog.load()

    assert catalog.choreography.services == {"prices"}
