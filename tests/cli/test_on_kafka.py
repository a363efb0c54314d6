"""The commands as people type them, one after another, on a real Kafka."""

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Choreo = Callable[..., Result]
pytestmark = pytest.mark.kafka


def test_from_topics_to_a_saga_at_rest(
    flights: str, choreo: Choreo, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
):
    planned = choreo("topics", "plan", flights, "--json")
    assert planned.exit_code == 1, planned.output
    kinds = {re.sub(r"-[0-9a-f]{8}", "", spec["name"]) for spec in json.loads(planned.stdout)["create"]}
    assert {"trips", "flights", "flights.memory", "flights.dlq"} <= kinds
    refused = choreo("publish", flights, "TripRequested", '{"trip_id": "t-1", "nights": 2}')
    assert refused.exit_code == 1
    assert "CH080" in refused.stderr
    assert "choreo topics apply" in refused.stderr
    assert choreo("run", flights).exit_code == 1

    applied = choreo("topics", "apply", flights)
    assert applied.exit_code == 0, applied.output
    assert choreo("topics", "plan", flights).exit_code == 0

    store = f"sqlite:///{tmp_path}/tracker.db"
    running = start("run", flights, "-w", "2")
    tracking = start("track", "--store", store)
    lines = "".join(f'{{"trip_id": "t-{number}", "nights": {number * 10}, "card": "4111"}}\n' for number in (1, 2, 1))
    published = choreo("publish", flights, "TripRequested", "-", input=lines)
    assert published.exit_code == 0, published.output
    first, second, again = published.stdout.split()
    assert first == again != second

    while not Path(f"{tmp_path}/tracker.db").exists():
        assert tracking.poll() is None
    for saga_id, state in ((first, "completed"), (second, "failed")):
        watched = choreo("sagas", "watch", saga_id, "--store", store, "--timeout", "60")
        assert watched.exit_code == 0, watched.output
        assert watched.stdout.splitlines()[-1].endswith(state)
    assert "too long" in choreo("sagas", "show", second, "--store", store).stdout

    tailed = choreo("events", "tail", "--from-beginning", "-e", "--saga-id", first, "--json")
    payloads = [json.loads(line) for line in tailed.stdout.splitlines()]
    assert [each["type"].rpartition(".")[2] for each in payloads if not each["causation_id"]] == ["TripRequested"] * 2
    assert {each["payload"].get("card") for each in payloads} == {"***", None}

    for process in (running, tracking):
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
        assert process.returncode == 0, log


@pytest.mark.usefixtures("impatient")
def test_brokers_that_are_not_there_are_told_with_what_to_type(trip: str, choreo: Choreo):
    result = choreo(
        "publish", trip, "TripRequested", '{"trip_id": "t", "nights": 1}', "--bootstrap-server", "127.0.0.1:1"
    )
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--bootstrap-server host:port" in result.stderr
