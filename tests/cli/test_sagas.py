import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from choreo.tracker import Follower, Store
from tests.tracker.orders import MANIFESTS, Topics, cancelled_before, completed, failed, placed

Choreo = Callable[..., Result]
FLOWS = [placed("order-1"), completed("order-2"), failed("order-3"), cancelled_before("order-4")]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A tracker's store with a saga of every kind, where the commands look for it."""
    monkeypatch.delenv("CHOREO_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    topics = Topics()
    topics.announce(*MANIFESTS)
    for flow in FLOWS:
        topics.write(flow.records)
    store = Store("tracker.db")
    Follower(store, topics).catch_up()
    return store


def test_list_shows_one_saga_a_line(choreo: Choreo):
    result = choreo("sagas", "list")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["state", "type", "key", "age", "saga", "id", "last"]
    assert len(lines) == 5
    (line,) = [line for line in lines if "order-3" in line]
    assert line.startswith("✘ failed")
    assert FLOWS[2].saga_id in line
    assert "ShipmentFailed: because of ShipmentFailed" in line


def test_list_filters_and_pages(choreo: Choreo):
    found = json.loads(choreo("sagas", "list", "--state", "failed", "--json").stdout)
    assert {item["business_key"] for item in found["items"]} == {"order-3", "order-4"}
    first = json.loads(choreo("sagas", "list", "-n", "3", "--json").stdout)
    rest = json.loads(choreo("sagas", "list", "-n", "3", "--after", first["next"], "--json").stdout)
    assert [len(first["items"]), len(rest["items"]), rest["next"]] == [3, 1, None]
    assert choreo("sagas", "list", "--older-than", "1d", "--type", "none").stderr == "No such sagas.\n"
    assert choreo("sagas", "list", "--older-than", "soon").exit_code == 2
    assert choreo("sagas", "list", "--after", "nowhere").exit_code == 2


@pytest.mark.parametrize("wanted", [FLOWS[2].saga_id, FLOWS[2].saga_id.upper(), "order-3"])
def test_show_tells_a_saga_by_id_or_key(choreo: Choreo, wanted: str):
    result = choreo("sagas", "show", wanted)
    assert result.exit_code == 0, result.output
    told = result.stdout
    assert told.startswith("✘ failed  order-fulfilment  order-3")
    assert "✘ ShipmentFailed  because of ShipmentFailed" in told
    assert "↩ compensated  payments.capture" in told
    assert "PaymentRefunded ↩ PaymentCaptured" in told
    assert "InventoryReleased ↩ InventoryReserved" in told
    assert "from outside" in told


def test_show_tells_what_a_running_saga_waits_for(choreo: Choreo):
    told = choreo("sagas", "show", "order-1").stdout
    assert told.startswith("● started")
    assert "waiting for" in told
    assert "◌ pending" in told or "▶ executing" in told


def test_show_tells_a_skipped_step_and_masks_what_is_sensitive(choreo: Choreo):
    told = choreo("sagas", "show", "order-4", "--payloads").stdout
    assert "⊘ skipped" in told
    assert "orders.AddressRejected came first" in told
    assert 'card="***"' in told
    assert "SECRET" not in told + choreo("sagas", "show", "order-4", "--json").stdout


def test_show_in_json_has_the_names_of_the_api(choreo: Choreo):
    saga = json.loads(choreo("sagas", "show", "order-2", "--json").stdout)
    assert saga["state"] == "completed"
    assert {"waiting_for", "steps", "events", "reasons", "flags"} <= saga.keys()
    assert {"name", "service", "status", "action", "compensation"} <= saga["steps"][0].keys()


def test_an_unknown_saga_is_a_problem(choreo: Choreo):
    result = choreo("sagas", "show", "order-99")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "knows no saga with the id or key order-99" in result.stderr


def test_stats_counts_by_type_and_state(choreo: Choreo):
    told = choreo("sagas", "stats").stdout.splitlines()
    assert "✔ completed" in told[0]
    assert told[1].split() == ["order-fulfilment", "1", "0", "0", "1", "2", "4"]
    assert "up to date" in told[-1]
    counted = json.loads(choreo("sagas", "stats", "--json").stdout)
    assert counted["counts"]["order-fulfilment"]["failed"] == 2
    assert counted["lag"]["records"] == 0


def test_watch_ends_when_the_saga_is_at_rest(choreo: Choreo):
    result = choreo("sagas", "watch", "order-2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 7
    assert lines[-1].endswith("completed")
    assert json.loads(choreo("sagas", "watch", "order-2", "--json").stdout)["state"] == "completed"


def test_watch_gives_up_in_time(choreo: Choreo):
    result = choreo("sagas", "watch", "order-1", "--timeout", "0")
    assert result.exit_code == 1
    assert "not at rest after 0 s: started" in result.stderr
    assert choreo("sagas", "watch", "order-99", "--timeout", "0").exit_code == 1
    assert len(choreo("sagas", "watch", "--timeout", "0").stdout.splitlines()) == 4


def test_watch_sees_a_saga_come_to_rest(choreo: Choreo, store: Store):
    topics = Topics()
    topics.announce(*MANIFESTS)
    for flow in FLOWS:
        topics.write(flow.records)
    follower = Follower(store, topics)
    later = completed("order-5")

    def arrive() -> None:
        topics.write(later.records)
        follower.catch_up()

    arriving = threading.Timer(0.1, arrive)
    arriving.start()
    result = choreo("sagas", "watch", "order-5", "--timeout", "20")
    arriving.join()
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("sqlite:///nowhere.db", 1, "choreo track --store sqlite:///nowhere.db"),
        ("postgresql://x", 2, "keeps its store in SQLite"),
    ],
)
def test_a_store_that_is_not_there_is_told(choreo: Choreo, url: str, code: int, said: str):
    result = choreo("sagas", "stats", "--store", url)
    assert result.exit_code == code
    assert said in result.stderr
