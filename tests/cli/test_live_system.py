"""`choreo check --against`: a guard before a deploy, on brokers in memory with a tracker's store beside them."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from choreo.cli.brokers import connect
from choreo.kafka.embedded import EmbeddedTransport
from choreo.records import MANIFESTS
from choreo.tracker import Store
from choreo.transport import Outgoing, TopicSpec
from tests.cli.desk import Desk, Kept

Choreo = Callable[..., Result]
Open = Callable[..., Desk]
FILES = """
from choreo import Event, Failure, Service

class Asked(Event, topic="asks"):
    ask_id: str

class Declined(Failure, topic="desk"):
    ask_id: str

class Filed(Event, topic="files"):
    ask_id: str

class Unfiled(Event, topic="files"):
    ask_id: str

files = Service("files")

@files.handles
def file(asked: Asked) -> Filed:
    return Filed(ask_id=asked.ask_id)

@files.compensates
def unfile(cause: Declined, filed: Filed) -> Unfiled:
    return Unfiled(ask_id=filed.ask_id)
"""
RENAMED = FILES.replace("def file(", "def store_it(")
STRANDED = {f"CH12{number}" for number in range(1, 7)}


@pytest.fixture
def new_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write the new version of the service `files`, and return its TARGET."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text: str) -> str:
        (tmp_path / "new_files.py").write_text(text)
        return "new_files"

    yield write
    sys.modules.pop("new_files", None)


@pytest.fixture
def desk(desk: Open, monkeypatch: pytest.MonkeyPatch) -> Open:
    def open_desk(*broken: str) -> Desk:
        opened = desk(*broken)
        monkeypatch.setattr("choreo.cli.live_system.connect", lambda _: Kept(opened.broker))
        return opened

    return open_desk


def told(result: Result) -> list[dict[str, Any]]:
    """Return what a deploy strands, and not what else the graph shows."""
    return [problem for problem in json.loads(result.stdout) if problem["code"] in STRANDED]


STORE = ("--store", "sqlite:///tracker.db")
JSON = ("--format", "json")


def test_r38_live_sagas_that_a_rename_strands_are_told(choreo: Choreo, desk: Open, new_files: Callable[[str], str]):
    ids = desk("file").ask("a-1", "a-2")
    checked = choreo("check", new_files(RENAMED), "--against", *STORE)
    assert checked.exit_code == 1
    assert (
        "error  CH121  files.file is gone, and looks like store_it now, with steps to finish in 2 live sagas: "
        f"a-2 ({ids[1]}), a-1 ({ids[0]})\n    at   new_files.py:18\n"
        '    fix  Give store_it name="file": a step is known by its name.\n'
    ) in checked.stdout


def test_a_name_mends_it(choreo: Choreo, desk: Open, new_files: Callable[[str], str]):
    desk("file").ask("a-1")
    named = RENAMED.replace("@files.handles\n", '@files.handles(name="file")\n')
    assert told(choreo("check", new_files(named), "--against", *STORE, *JSON)) == []


def test_what_no_live_saga_needs_may_go(choreo: Choreo, desk: Open, new_files: Callable[[str], str]):
    opened = desk()
    opened.ask("a-1")
    assert told(choreo("check", new_files(RENAMED), "--against", *STORE, *JSON)) == []


def test_what_stands_may_still_have_to_be_undone(choreo: Choreo, desk: Open, new_files: Callable[[str], str]):
    desk("answer").ask("a-1")
    without = FILES.partition("@files.compensates")[0]
    (problem,) = told(choreo("check", new_files(without), "--against", *STORE, *JSON))
    assert (problem["code"], problem["level"]) == ("CH122", "error")
    assert "files.unfile is gone, with something to undo in 1 live saga" in problem["message"]


def test_sagas_that_have_just_started_or_are_being_undone_are_live(
    choreo: Choreo, desk: Open, new_files: Callable[[str], str]
):
    opened = desk("unfile")
    opened.declines = True
    opened.ask("a-1")
    without = new_files(FILES.partition("@files.compensates")[0].replace("def file(", "def store_it("))
    assert [each["code"] for each in told(choreo("check", without, "--against", *STORE, *JSON))] == ["CH122"]
    opened.start("a-2")
    found = told(choreo("check", without, "--against", *STORE, *JSON))
    assert [(each["code"], "a-2 (" in each["message"]) for each in found] == [("CH121", True), ("CH122", False)]


def test_without_a_store_it_warns_of_what_may_be_stranded(
    choreo: Choreo, desk: Open, new_files: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
):
    desk("file").ask("a-1")
    target = new_files(RENAMED)
    # A store that happens to lie here may be of another system.
    assert Path("tracker.db").exists()
    checked = choreo("check", target, "--against", *JSON)
    (problem,) = told(checked)
    assert (problem["code"], problem["level"]) == ("CH121", "warning")
    assert problem["message"].endswith("perhaps with steps to finish in live sagas")
    assert "say --store URL" in checked.stderr
    assert choreo("check", target, "--against", "--strict").exit_code == 1
    monkeypatch.setenv("CHOREO_STORE", "sqlite:///tracker.db")
    assert [problem["level"] for problem in told(choreo("check", target, "--against", *JSON))] == ["error"]


def test_where_nothing_goes_no_store_is_asked_for(choreo: Choreo, desk: Open, new_files: Callable[[str], str]):
    desk()
    assert "--store" not in choreo("check", new_files(FILES), "--against").stderr


def test_others_that_run_are_part_of_the_graph(choreo: Choreo, desk: Open, new_files: Callable[[str], str]):
    desk()
    target = new_files(FILES)
    assert "files.file handles Asked, which nobody emits" in choreo("check", target).stdout
    assert "which nobody emits" not in choreo("check", target, "--against").stdout
    # And what they say of the services that are to be replaced is not.
    gone = new_files(
        FILES.partition("@files.compensates")[0].replace(
            "def file(asked: Asked) -> Filed", "def note(asked: Asked) -> Unfiled"
        )
    )
    sys.modules.pop("new_files", None)
    assert "desk.answer handles Filed, which nobody emits" in choreo("check", gone, "--against").stdout


def test_every_live_saga_is_looked_at_page_by_page(
    choreo: Choreo, desk: Open, new_files: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
):
    desk("file").ask("a-1", "a-2", "a-3", "a-4", "a-5")
    monkeypatch.setattr("choreo.cli.tracker_store.PAGE_SAGAS", 2)
    target = new_files(RENAMED)
    (problem,) = told(choreo("check", target, "--against", *STORE, *JSON))
    named = re.findall(r"(a-\d) \(", problem["message"])
    assert (len(set(named)), "in 5 live sagas" in problem["message"]) == (3, True)
    monkeypatch.setattr("choreo.cli.live_system.LIVE_SAGAS_MAX", 3)
    checked = choreo("check", target, "--against", *STORE, *JSON)
    assert "in 3 live sagas" in told(checked)[0]["message"]
    assert "Of 5 live sagas 3 are looked at" in checked.stderr


def test_a_tracker_that_is_behind_or_elsewhere_is_no_clean_bill(
    choreo: Choreo, desk: Open, new_files: Callable[[str], str]
):
    opened = desk()
    opened.ask("a-1")
    target = new_files(RENAMED)
    with closing(Store("tracker.db")) as store:
        store.put_ends({("files", 0): 12}, 0, caught_up=False)
    assert "records behind: more live sagas may need" in choreo("check", target, "--against", *STORE).stderr
    Store("other.db").close()
    elsewhere = choreo("check", target, "--against", "--store", "sqlite:///other.db")
    assert elsewhere.exit_code == 1
    assert "The tracker has not read what files@" in elsewhere.stderr
    assert choreo("check", target, "--against", "--store", "sqlite:///missing.db").exit_code == 1


def test_what_cannot_be_read_is_told_before_brokers_are_asked(
    choreo: Choreo, new_files: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    target = new_files(FILES.replace(" -> Filed", ""))
    checked = choreo("check", target, "--against", "--bootstrap-server", "localhost:1")
    assert (checked.exit_code, "CH001" in checked.stdout) == (1, True)


def test_flags_of_a_system_without_against_are_a_slip(
    choreo: Choreo, new_files: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    target = new_files(FILES)
    for flags in (STORE, ("--bootstrap-server", "localhost:1")):
        slip = choreo("check", target, *flags)
        assert (slip.exit_code, "add --against" in slip.stderr) == (2, True)


def test_it_is_read_from_real_brokers(
    choreo: Choreo, desk: Open, new_files: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
):
    with closing(EmbeddedTransport()) as embedded:
        opened = desk("file")
        opened.ask("a-1")
        monkeypatch.setattr("choreo.cli.live_system.connect", connect)
        embedded.create([TopicSpec(MANIFESTS, 1)])
        with closing(embedded.sender()) as sender:
            for record in opened.records(MANIFESTS):
                sender.enqueue(Outgoing(MANIFESTS, record.key, record.value, []), lambda _: None)
        checked = choreo(
            "check", new_files(RENAMED), "--against", *JSON, "--bootstrap-server", embedded.bootstrap_servers
        )
    assert [problem["code"] for problem in told(checked)] == ["CH121"]
