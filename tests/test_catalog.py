"""What is announced must mean what is out there."""

from decimal import Decimal
from typing import Annotated

import pytest
from pydantic import Field

from choreo import Event, Service
from choreo.catalog import announce
from choreo.clock import ManualClock
from choreo.errors import IncompatibleSchema
from choreo.manifest import Manifest
from choreo.records import MANIFESTS
from choreo.service import declarations
from choreo.testing import MemoryBroker
from choreo.transport import Outgoing, TopicSpec


class Priced(Event, topic="prices"):
    price: Annotated[Decimal, Field(max_digits=12, decimal_places=2)]


def test_a_fingerprint_that_means_something_else_out_there_is_refused_at_start():
    prices = Service("prices")

    @prices.handles
    def take(_priced: Priced) -> None: ...

    [declared] = declarations(prices)
    ours = Manifest.of(declared)
    broker = MemoryBroker(ManualClock())
    broker.create([TopicSpec(MANIFESTS, 1)])
    theirs = ours.to_bytes().replace(b'"scale":2', b'"scale":3').replace(b'"prices"', b'"others"', 1)
    assert theirs != ours.to_bytes()
    broker.write([Outgoing(MANIFESTS, b"others@1", theirs, [])])

    with pytest.raises(IncompatibleSchema, match=r"prices\.Priced: its fingerprint .* is already out there"):
        announce([ours], broker)
    reader = broker.reader([MANIFESTS])
    assert [record.key for record in reader.poll(0, 10)] == [b"others@1"], "what is refused is not announced"


def test_what_means_the_same_is_announced():
    prices = Service("prices")

    @prices.handles
    def take(_priced: Priced) -> None: ...

    [declared] = declarations(prices)
    broker = MemoryBroker(ManualClock())
    broker.create([TopicSpec(MANIFESTS, 1)])
    for _ in range(2):
        announce([Manifest.of(declared)], broker)

    assert {record.key for record in broker.reader([MANIFESTS]).poll(0, 10)} == {f"prices@{declared.version}".encode()}
