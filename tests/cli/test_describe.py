import json
from collections.abc import Callable

from click.testing import Result


def test_describe_says_what_a_service_declares(trip: str, choreo: Callable[..., Result]):
    result = choreo("describe", f"{trip}.flights")
    assert result.exit_code == 0, result.output
    assert (
        "owns saga trip: starts with TripRequested, completes with FlightBooked, fails with FlightRefused"
        in result.stdout
    )
    assert "book     forward  TripRequested  FlightBooked | FlightRefused" in result.stdout
    assert "event topics: flights, trips; its own: flights.memory, flights.dlq" in result.stdout


def test_describe_prints_manifests_as_json(trip: str, choreo: Callable[..., Result]):
    (manifest,) = json.loads(choreo("describe", trip, "--json").stdout)
    assert manifest["service"] == "flights"
    assert manifest["events"]["trips.TripRequested"]["sensitive"] == ["card"]
