import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Choreo = Callable[..., Result]


def test_files_are_written_once_and_then_fresh(trip: str, choreo: Choreo):
    assert choreo("schema", "check", trip).exit_code == 1
    written = choreo("schema", "write", trip)
    assert written.exit_code == 0, written.output
    assert [Path(line).name for line in written.stdout.split()] == [
        "flights.FlightBooked.avsc",
        "flights.FlightRefused.avsc",
        "trips.TripRequested.avsc",
    ]
    assert choreo("schema", "write", trip, "--json").stdout == '{"written": []}\n'
    checked = choreo("schema", "check", trip)
    assert (checked.exit_code, checked.stdout) == (0, "")


def test_a_stale_file_is_found(trip: str, choreo: Choreo):
    choreo("schema", "write", trip, "--out", "schemas")
    path = Path("schemas/trips.TripRequested.avsc")
    path.write_text(path.read_text() + "\n")
    checked = choreo("schema", "check", trip, "--out", "schemas", "--json")
    assert checked.exit_code == 1
    assert json.loads(checked.stdout) == {"stale": {str(path): ["stale"]}}
    assert f"choreo schema write {trip} --out schemas" in checked.stderr


def test_a_change_that_breaks_readers_is_refused_unless_forced(trip: str, choreo: Choreo):
    choreo("schema", "write", trip)
    path = Path("avro/flights.FlightBooked.avsc")
    before = json.loads(path.read_text())
    before["fields"].append({"name": "seat", "type": "string"})
    path.write_text(json.dumps(before))
    refused = choreo("schema", "write", trip)
    assert refused.exit_code == 1
    assert "old readers, new events" in refused.stderr
    assert json.loads(path.read_text()) == before
    assert choreo("schema", "write", trip, "--force").exit_code == 0
    assert choreo("schema", "check", trip).exit_code == 0
