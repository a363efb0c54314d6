"""Repairing sagas as people do it, on a real Kafka: a step that was parked, two people at once, a record nobody can read."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from confluent_kafka import Producer

Choreo = Callable[..., Result]
Start = Callable[..., "subprocess.Popen[str]"]
pytestmark = pytest.mark.kafka
DEADLINE_S = 60.0
WHO = ("--actor", "ada", "--reason", "the airline answers again")
FRAGILE = """
from pathlib import Path

from choreo import Retry, Saga, Service
from {events} import FlightBooked, FlightRefused, TripRequested

flights = Service("{service}")
flights.owns(Saga("{saga}", starts=TripRequested, completes=FlightBooked, fails=FlightRefused, key="trip_id"))

@flights.handles(retry=Retry(attempts=1))
def book(trip: TripRequested) -> FlightBooked | FlightRefused:
    if not Path("answers").exists():
        raise ConnectionError("the airline does not answer")
    return FlightBooked(trip_id=trip.trip_id)
"""


def until(look: Callable[[], Any]) -> Any:
    """Look again and again until something is there; fail where it does not come in time."""
    paused = threading.Event()
    deadline = time.monotonic() + DEADLINE_S
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come in time"
        paused.wait(0.1)
    return found


@pytest.fixture
def fragile(trip: str, flights: str) -> str:
    """The service of `flights`, whose handler raises until there is a file `answers`; return its name."""
    path = Path(trip) / "flights.py"
    (service,) = (line.split('"')[1] for line in path.read_text().splitlines() if " = Service(" in line)
    saga = service.replace("flights", "trip")
    path.write_text(FRAGILE.format(events=f"{trip}.events", service=service, saga=saga))
    return service


@pytest.fixture
def running(fragile: str, flights: str, choreo: Choreo, start: Start) -> list["subprocess.Popen[str]"]:
    """The service and the tracker, running."""
    applied = choreo("topics", "apply", flights)
    assert applied.exit_code == 0, applied.output
    processes = [start("run", flights), start("track")]
    until(Path("tracker.db").exists)
    return processes


def test_r28_r29_from_a_parked_step_and_a_bad_record_to_sagas_that_are_whole(
    fragile: str, flights: str, running: list["subprocess.Popen[str]"], choreo: Choreo, start: Start, kafka: str
):
    def ask(*arguments: str) -> Any:
        result = choreo(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def parked() -> list[dict[str, Any]]:
        return list(ask("parked", "list", "--service", fragile)["items"])

    def notes(saga: str, *kinds: str) -> list[dict[str, Any]]:
        return [each for each in ask("sagas", "show", saga)["notes"] if each["kind"] in kinds]

    def publish(key: str) -> str:
        done = choreo("publish", flights, "TripRequested", json.dumps({"trip_id": key, "nights": 2}))
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    # A step is parked, mended and retried.
    first, second = publish("t-1"), publish("t-2")
    until(lambda: len(parked()) == 2)
    assert {each["saga_id"] for each in parked()} == {first, second}
    assert "ConnectionError" in parked()[0]["error"]
    Path("answers").touch()
    retried = choreo("parked", "retry", first, *WHO, "--yes")
    assert retried.exit_code == 0, retried.output
    assert choreo("sagas", "watch", first, "--timeout", str(DEADLINE_S)).exit_code == 0
    assert [each["actor"] for each in notes(first, "resumed")] == ["ada"]

    # Two people at once: one wins, and the other is told. What both see stands still, for one may start faster.
    running[1].send_signal(signal.SIGSTOP)
    event = ("--event", "FlightBooked", json.dumps({"trip_id": "t-2"}))
    people = [
        start("parked", "retry", second, "--actor", "ada", "--reason", "it works again", "--yes"),
        start("parked", "resolve", second, *event, "--actor", "bob", "--reason", "booked by phone", "--yes"),
    ]
    told = [process.communicate(timeout=DEADLINE_S)[1] for process in people]
    assert [process.returncode for process in people] == [0, 0], told
    running[1].send_signal(signal.SIGCONT)
    until(lambda: len(notes(second, "resumed", "resolved", "refused")) == 2)
    (refused,) = notes(second, "refused")
    (won,) = notes(second, "resumed", "resolved")
    assert won["actor"] == {"resumed": "ada", "resolved": "bob"}[won["kind"]]
    assert {won["actor"], refused["actor"]} == {"ada", "bob"}
    assert choreo("sagas", "watch", second, "--timeout", str(DEADLINE_S)).exit_code == 0
    events = ask("sagas", "show", second)["events"]
    assert [each["type"].rpartition(".")[2] for each in events] == ["TripRequested", "FlightBooked"]
    assert parked() == []
    assert choreo("parked", "retry", second, *WHO, "--yes").exit_code == 1

    # A record that nobody can read is set aside, and does no harm however often it is sent.
    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random"})
    topic = fragile.replace("flights", "trips")
    kind = f"{topic}.TripRequested".replace("-", "_").encode()
    producer.produce(topic, b"\xc3\x01no trip", first, headers={"ce_id": b"bad-1", "ce_type": kind})
    assert producer.flush(DEADLINE_S) == 0
    (letter,) = until(lambda: ask("dlq", "list", fragile)["items"])
    assert (letter["topic"], letter["key"], letter["event_id"]) == (topic, first, "bad-1")
    assert choreo("dlq", "show", fragile, letter["position"], "--raw").stdout_bytes == b"\xc3\x01no trip"
    for count in (1, 2):
        done = choreo("dlq", "redrive", fragile, letter["position"], *WHO, "--yes")
        assert done.exit_code == 0, done.output
        until(lambda count=count: ask("dlq", "list", fragile)["count"] == 1 + count)
    until(lambda: len(notes(first, "redriven")) == 2)
    whole = ask("sagas", "show", first)
    assert (whole["state"], len(whole["events"])) == ("completed", 2)

    for process in running:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, log
