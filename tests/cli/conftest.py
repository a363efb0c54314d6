import itertools
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from choreo.cli import main
from tests.cli.desk import Desk, Kept

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
ROOT = Path(__file__).parents[2]
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


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Desk]]:
    """Open a `Desk` whose brokers and tracker's store the commands find; its handlers that are named fail."""
    monkeypatch.delenv("CHOREO_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:

        def open_desk(*broken: str) -> Desk:
            opened = stack.enter_context(Desk(tmp_path / "tracker.db", *broken))
            for module in ("parked", "dlq"):
                monkeypatch.setattr(f"choreo.cli.commands.{module}.connect", lambda _: Kept(opened.broker))
            return opened

        yield open_desk


@pytest.fixture
def flights(trip: str, kafka: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A service whose names nobody else on this Kafka uses."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    mark = uuid.uuid4().hex[:8]
    for name in ("events.py", "flights.py"):
        path = Path(trip) / name
        text = path.read_text()
        for word in ("trips", "trip", "flights"):
            text = text.replace(f'"{word}"', f'"{word}-{mark}"')
        path.write_text(text)
    return f"{trip}.flights"


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `choreo` as a process of its own; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "choreo", *arguments]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()
