import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from choreo.cli import main

EVENTS = """
from typing import Annotated
from choreo import Event, Failure, Sensitive

class TripRequested(Event, topic="trips"):
    trip_id: str
    nights: int
    card: Annotated[str, Sensitive()] = ""

class FlightBooked(Event, topic="flights"):
    trip_id: str

class FlightRefused(Failure, topic="flights"):
    trip_id: str
"""
FLIGHTS = """
from choreo import Saga, Service
from {events} import FlightBooked, FlightRefused, TripRequested

flights = Service("flights")
flights.owns(Saga("trip", starts=TripRequested, completes=FlightBooked, fails=FlightRefused, key="trip_id"))

@flights.handles
def book(trip: TripRequested) -> FlightBooked | FlightRefused:
    if trip.nights > 14:
        return FlightRefused(trip_id=trip.trip_id, reason="too long")
    return FlightBooked(trip_id=trip.trip_id)
"""
_names = itertools.count()


@pytest.fixture
def choreo() -> Callable[..., Result]:
    """Run `choreo` with these arguments."""

    def invoke(*arguments: str, input: str | None = None) -> Result:  # noqa: A002 - click's word
        return CliRunner().invoke(main, arguments, input=input)

    return invoke


@pytest.fixture
def trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of one service, in the current directory; its name differs in each test, as modules are kept."""
    name = f"trip{next(_names)}"
    for variable in ("CHOREO_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS", "CHOREO_STORE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "events.py").write_text(EVENTS)
    (package / "flights.py").write_text(FLIGHTS.format(events=f"{name}.events"))
    yield name
    for loaded in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        del sys.modules[loaded]
