"""`choreo replay`: a guard before deploys, over topics in memory, a tracker's store and an embedded broker."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from choreo.cli.brokers import connect
from choreo.cli.commands import replay as command
from choreo.cli.target import load
from choreo.kafka.embedded import EmbeddedTransport
from choreo.testing import Scenario
from choreo.tracker import Follower, Store
from choreo.transport import Outgoing, TopicSpec
from tests.cli.desk import Kept

Choreo = Callable[..., Result]
Later = Callable[..., str]
# What may be deployed next.
NEXT = """
from choreo import Saga, Service
from {events} import FlightBooked, FlightRefused, TripRequested

flights = Service("flights")
flights.owns(Saga("trip", starts=TripRequested, completes=FlightBooked, fails=FlightRefused, key="trip_id"))

@flights.handles
def book(trip: TripRequested) -> FlightBooked | FlightRefused:
    if trip.nights > {nights}:
        return FlightRefused(trip_id=trip.trip_id, reason="{reason}")
    return FlightBooked(trip_id=trip.trip_id)
"""


@pytest.fixture
def scene(trip: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenario]:
    """Three trips, recorded: two were booked, one was too long."""
    [flights] = load([f"{trip}.flights"])
    events = __import__(f"{trip}.events", fromlist=["TripRequested"])
    with Scenario(flights) as s:
        for number, nights in enumerate((3, 10, 30), 1):
            s.publish(events.TripRequested(trip_id=f"T-{number}", nights=nights, card="SECRET"))
            s.settle()
        monkeypatch.setattr(command, "connect", lambda _: Kept(s.broker))
        yield s


@pytest.fixture
def later(trip: str) -> Later:
    """Write the next version, which takes so many nights, and return its target."""

    def write(nights: int, reason: str = "too long") -> str:
        name = f"flights_{nights}"
        text = NEXT.format(events=f"{trip}.events", nights=nights, reason=reason)
        (Path(trip) / f"{name}.py").write_text(text)
        return f"{trip}.{name}"

    return write


def test_the_same_code_passes(choreo: Choreo, scene: Scenario, trip: str):
    result = choreo("replay", f"{trip}.flights")
    assert result.exit_code == 0, result.output
    told = [line.split() for line in result.stdout.splitlines()]
    assert sorted((*words[:4], *words[5:]) for words in told) == [
        ("✔", "same", "trip", key, "2", "events") for key in ("T-1", "T-2", "T-3")
    ]
    assert result.stderr == "Sagas through flights: 3 the same, 0 different.\n"


def test_what_differs_is_told_saga_by_saga(choreo: Choreo, scene: Scenario, later: Later):
    result = choreo("replay", later(7))
    assert result.exit_code == 1
    [differs] = [line for line in result.stdout.splitlines() if line.startswith("≠ differs")]
    assert "T-2" in differs
    assert (
        "    emits  flights.book emits FlightRefused now for TripRequested; then it emitted FlightBooked"
        in result.stdout.splitlines()
    )
    assert result.stderr == "Sagas through flights: 2 the same, 1 different.\n"


def test_fields_are_told_one_a_line_and_nothing_moves_the_terminal(choreo: Choreo, scene: Scenario, later: Later):
    told = choreo("replay", later(14, "too \\x1b[31mlong")).stdout
    assert "    body  flights.book emits FlightRefused with another body now for TripRequested" in told
    assert "        reason: 'too long' → 'too \\x1b[31mlong'" in told
    assert "\x1b" not in told
    assert "SECRET" not in told


def test_in_json_it_is_one_object(choreo: Choreo, scene: Scenario, later: Later):
    result = choreo("replay", later(14, "too far"), "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    told = json.loads(result.stdout)
    assert (told["services"], told["uncalled"], told["same"], told["differ"]) == (["flights"], {}, 2, 1)
    [differs] = [saga for saga in told["sagas"] if saga["differences"]]
    assert (differs["business_key"], differs["events"]) == ("T-3", 2)
    [difference] = differs["differences"]
    assert (difference["service"], difference["handler"], difference["change"]) == ("flights", "book", "body")
    assert difference["fields"][0]["then"] == "'too long'"


def test_it_reads_what_is_asked_for(choreo: Choreo, scene: Scenario, trip: str):
    target = f"{trip}.flights"
    saga_id = json.loads(choreo("replay", target, "--limit", "1", "--json").stdout)["sagas"][0]["saga_id"]
    told = json.loads(choreo("replay", target, "--saga-id", saga_id, "--type", "trip", "--json").stdout)
    assert [saga["saga_id"] for saga in told["sagas"]] == [saga_id]
    missing = choreo("replay", target, "--saga-id", "nobody", "--saga-id", saga_id)
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "Nothing is recorded of saga nobody." in missing.stderr
    nothing = choreo("replay", target, "--type", "cruise")
    assert nothing.exit_code == 1
    assert "There is nothing to replay" in nothing.stderr


def test_it_reads_a_trackers_store(choreo: Choreo, scene: Scenario, trip: str, tmp_path: Path):
    store = Store(tmp_path / "tracker.db")
    Follower(store, scene.broker).catch_up()
    store.close()
    result = choreo("replay", f"{trip}.flights", "--store", "sqlite:///tracker.db")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        (
            "flights.book was not called, for TripRequested has sensitive fields, which are not recorded: it is assumed to do "
            "what it did then."
        ),
        "Sagas through flights: 3 the same, 0 different.",
    ]
    assert choreo("replay", f"{trip}.flights", "--store", "sqlite:///nowhere.db").exit_code == 1
    assert not Path("nowhere.db").exists()


def test_only_the_services_that_are_named_are_taken(choreo: Choreo, scene: Scenario, trip: str):
    target = f"{trip}.flights"
    assert choreo("replay", target, "--service", "flights").exit_code == 0
    wrong = choreo("replay", target, "--service", "hotels")
    assert wrong.exit_code == 2
    assert "No TARGET has a service hotels. There are: flights." in wrong.stderr


def test_a_step_that_is_named_is_not_called(choreo: Choreo, scene: Scenario, later: Later):
    result = choreo("replay", later(7), "--uncalled", "flights.book")
    assert result.exit_code == 0
    assert "flights.book was not called, for it was named" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("x", "--limit", "0"),
        ("x", "--limit", "1001"),
        ("x", "--store", "s", "--bootstrap-server", "b:1"),
        ("nowhere",),
    ],
    ids=" ".join,
)
def test_wrong_usage(choreo: Choreo, trip: str, arguments: tuple[str, ...]):
    assert choreo("replay", *(f"{trip}.flights" if each == "x" else each for each in arguments)).exit_code == 2


def test_on_an_embedded_broker(
    choreo: Choreo, scene: Scenario, trip: str, later: Later, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(command, "connect", connect)
    names = [name for name in scene.broker.describe() if not name.endswith(".memory")]
    with closing(EmbeddedTransport()) as cluster:
        cluster.create([TopicSpec(name, 1) for name in names])
        with closing(cluster.sender()) as sender, closing(scene.broker.reader(names)) as reader:
            for topic, _, _, key, value, headers, _ in reader.poll(0, 1000):
                sender.enqueue(Outgoing(topic, key, value, headers), _acknowledged)
            assert sender.flush(10) == 0
        servers = cluster.bootstrap_servers
        same = choreo("replay", f"{trip}.flights", "--bootstrap-server", servers)
        assert same.exit_code == 0, same.output
        assert "Sagas through flights: 3 the same, 0 different." in same.stderr
        assert choreo("replay", later(7), "--bootstrap-server", servers).exit_code == 1


def _acknowledged(error: Exception | None) -> None:
    assert error is None
