import json
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from choreo.cli.target import load
from choreo.kafka.embedded import EmbeddedTransport
from choreo.manifest import EventManifest, HandlerManifest, Manifest
from choreo.records import MANIFESTS
from choreo.schema.evolution import BreakKind
from choreo.service import declarations
from choreo.testing import MemoryBroker
from choreo.transport import Outgoing, TopicSpec, Transport
from tests.cli.desk import Kept

Choreo = Callable[..., Result]


def write(transport: Transport, key: bytes, value: bytes | None) -> None:
    with closing(transport.sender()) as sender:
        sender.enqueue(Outgoing(MANIFESTS, key, value, []), lambda _: None)
        assert sender.flush(10) == 0


def announce(transport: Transport, manifest: Manifest) -> None:
    write(transport, manifest.key.encode(), manifest.to_bytes())


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
    assert json.loads(checked.stdout) == {"stale": {str(path): ["stale"]}, "problems": []}
    assert f"choreo schema write {trip} --out schemas" in checked.stderr


def test_a_change_that_breaks_readers_is_refused_unless_forced(trip: str, choreo: Choreo):
    choreo("schema", "write", trip)
    path = Path("avro/flights.FlightBooked.avsc")
    before = json.loads(path.read_text())
    before["fields"].append({"name": "seat", "type": "string"})
    path.write_text(json.dumps(before))
    refused = choreo("schema", "write", trip)
    assert refused.exit_code == 1
    assert "CH127  flights.FlightBooked: old code cannot read new records: FlightBooked.seat" in refused.stderr
    assert json.loads(path.read_text()) == before
    machine = json.loads(choreo("schema", "write", trip, "--json").stdout)
    assert list(machine["incompatible"]) == [str(path)]
    assert choreo("schema", "write", trip, "--force").exit_code == 0
    assert choreo("schema", "check", trip).exit_code == 0


def with_field(name: str, text: str) -> None:
    """Give an event of the trip another field, in the files that are checked in."""
    path = Path(f"avro/{name}.avsc")
    schema = json.loads(path.read_text())
    schema["fields"].append(json.loads(text))
    path.write_text(json.dumps(schema))


MISSING = "the writer has no such field, and the reader has no default for it"
KEEP = (
    "Keep seat, and fill it: old code has no default for it. "
    "To rename a field, add the new one with a default and fill both."
)


def test_everything_about_a_change_is_told(trip: str, choreo: Choreo):
    choreo("schema", "write", trip)
    with_field("flights.FlightBooked", '{"name": "seat", "type": "string"}')
    checked = choreo("schema", "check", trip)
    assert checked.exit_code == 1
    assert checked.stdout.splitlines() == [
        "avro/flights.FlightBooked.avsc: stale",
        f"error  CH127  flights.FlightBooked: {BreakKind.OLD_READS_NEW}: FlightBooked.seat: {MISSING}",
        "    with avro/flights.FlightBooked.avsc",
        f"    fix  {KEEP}",
        "",
    ]
    (problem,) = json.loads(choreo("schema", "check", trip, "--json").stdout)["problems"]
    assert {key: problem[key] for key in ("code", "event", "path", "way", "out_there")} == {
        "code": "CH127",
        "event": "flights.FlightBooked",
        "path": "FlightBooked.seat",
        "way": "old code cannot read new records",
        "out_there": ["avro/flights.FlightBooked.avsc"],
    }


def test_a_file_that_is_no_schema_is_told(trip: str, choreo: Choreo):
    choreo("schema", "write", trip)
    Path("avro/trips.TripRequested.avsc").write_text("{")
    checked = choreo("schema", "check", trip)
    assert checked.exit_code == 1
    assert "trips.TripRequested: what is out there is no Avro schema: not JSON" in checked.stdout


class TestAgainstGit:
    @pytest.fixture(autouse=True)
    def repository(self, trip: str, choreo: Choreo, monkeypatch: pytest.MonkeyPatch) -> str:
        """The trip's files as they are, committed, on a branch called main."""
        for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            monkeypatch.delenv(variable, raising=False)
        choreo("schema", "write", trip)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()
        return trip

    @staticmethod
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "avro")
        self.git("commit", "--quiet", "--message=avro")

    def commit_with_nights_as_text(self) -> None:
        path = Path("avro/trips.TripRequested.avsc")
        path.write_text(path.read_text().replace('"long"', '"string"'))
        self.commit()

    def test_what_was_forced_into_the_files_is_found(self, trip: str, choreo: Choreo):
        self.commit_with_nights_as_text()
        assert choreo("schema", "write", trip, "--force").exit_code == 0
        assert choreo("schema", "check", trip).exit_code == 0
        checked = choreo("schema", "check", trip, "--against-git", "main")
        assert checked.exit_code == 1
        assert "new code cannot read old records: TripRequested.nights: written as string" in checked.stdout
        assert "old code cannot read new records: TripRequested.nights: written as long" in checked.stdout
        assert "    with main:avro/trips.TripRequested.avsc\n" in checked.stdout

    def test_any_revision_and_folder_will_do(self, trip: str, choreo: Choreo, monkeypatch: pytest.MonkeyPatch):
        self.commit_with_nights_as_text()
        choreo("schema", "write", trip, "--force")
        self.commit()
        assert choreo("schema", "check", trip, "--against-git", "HEAD").exit_code == 0
        assert choreo("schema", "check", trip, "--against-git", "HEAD~1").exit_code == 1
        shutil.rmtree("avro")
        assert "TripRequested.nights" in choreo("schema", "check", trip, "--against-git", "HEAD~1").stdout
        elsewhere = Path("elsewhere")
        elsewhere.mkdir()
        root = Path.cwd()
        monkeypatch.chdir(elsewhere)
        monkeypatch.syspath_prepend(str(root))
        for folder in ("../avro", str(root / "avro")):
            checked = choreo("schema", "check", trip, "--out", folder, "--against-git", "HEAD~1")
            assert "TripRequested.nights" in checked.stdout, checked.output

    def test_files_are_to_be_fresh_all_the_same(self, trip: str, choreo: Choreo):
        with_field("flights.FlightBooked", '{"name": "seat", "type": "string"}')
        checked = choreo("schema", "check", trip, "--against-git", "main")
        assert (checked.exit_code, checked.stdout) == (1, "avro/flights.FlightBooked.avsc: stale\n")

    def test_an_event_that_is_gone_is_mentioned(self, trip: str, choreo: Choreo):
        with_field("flights.FlightBooked", '{"name": "seat", "type": "string"}')
        shutil.copy("avro/flights.FlightBooked.avsc", "avro/flights.FlightMoved.avsc")
        Path("avro/README.md").write_text("What these are.")
        self.commit()
        choreo("schema", "write", trip, "--force")
        assert "FlightMoved" not in choreo("schema", "check", trip, "--against-git", "main").stderr
        Path("avro/flights.FlightMoved.avsc").unlink()
        told = choreo("schema", "check", trip, "--against-git", "main").stderr.splitlines()
        assert [line.partition(" is gone")[0] for line in told] == ["main:avro/flights.FlightMoved.avsc"]

    def test_a_revision_without_files_is_fine_and_told(self, trip: str, choreo: Choreo):
        choreo("schema", "write", trip, "--out", "schemas")
        checked = choreo("schema", "check", trip, "--out", "schemas", "--against-git", "main")
        assert checked.exit_code == 0
        assert "main has no .avsc files in schemas" in checked.stderr

    def test_what_cannot_be_asked_is_said_for_people(
        self, trip: str, choreo: Choreo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        unknown = choreo("schema", "check", trip, "--against-git", "mian")
        assert (unknown.exit_code, "no such revision" in unknown.stderr) == (1, True)
        assert choreo("schema", "check", trip, "--against-git", "--all").exit_code == 2
        monkeypatch.setenv("PATH", "")
        assert "needs the git executable" in choreo("schema", "check", trip, "--against-git", "main").stderr

    def test_git_is_not_waited_for_for_ever(self, trip: str, choreo: Choreo, monkeypatch: pytest.MonkeyPatch):
        slow = Path("bin/git")
        slow.parent.mkdir()
        slow.write_text("#!/bin/sh\nexec sleep 60\n")
        slow.chmod(0o755)
        monkeypatch.setenv("PATH", f"{slow.parent.resolve()}:{os.environ['PATH']}")
        monkeypatch.setattr("choreo.cli.known_schemas.GIT_TIMEOUT_S", 0.05)
        stopped = choreo("schema", "check", trip, "--against-git", "main")
        assert (stopped.exit_code, "took longer than 0.05 s" in stopped.stderr) == (1, True)


def test_without_a_repository_it_says_so(trip: str, choreo: Choreo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    checked = choreo("schema", "check", trip, "--against-git", "main")
    assert checked.exit_code == 1
    assert "not a git repository" in checked.stderr


class TestAgainstRunningServices:
    @pytest.fixture
    def broker(self, monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
        broker = MemoryBroker()
        broker.create([TopicSpec(MANIFESTS, 1)])
        monkeypatch.setattr("choreo.cli.live_system.connect", lambda _: Kept(broker))
        return broker

    @pytest.fixture
    def check(self, trip: str, choreo: Choreo) -> Callable[[], Result]:
        return lambda *more: choreo("schema", "check", trip, "--bootstrap-server", "here:9092", *more)

    def running(self, trip: str, before: str = "", after: str = "", **fields: object) -> Manifest:
        """Return what the trip's one service announces, its JSON altered."""
        (manifest,) = [Manifest.of(each) for each in declarations(*load([trip]))]
        text = manifest.model_dump_json()
        assert before in text
        altered = Manifest.model_validate_json(text.replace(before, after) if before else text)
        return altered.model_copy(update=fields)

    def test_a_change_is_told_with_those_it_breaks(self, trip: str, check: Callable[..., Result], broker: MemoryBroker):
        announce(broker, self.running(trip, '"long"', '"string"', service_version="1"))
        announce(broker, self.running(trip, service="notes"))
        checked = check()
        assert checked.exit_code == 1
        assert "new code cannot read old records: TripRequested.nights: written as string" in checked.stdout
        assert "old code cannot read new records: TripRequested.nights: written as long" in checked.stdout
        assert "    with flights@1\n" in checked.stdout
        # The files are another matter, and are not looked at.
        assert "missing" not in checked.stdout

    def test_of_versions_that_were_replaced_the_records_count(
        self, trip: str, check: Callable[..., Result], broker: MemoryBroker
    ):
        announce(broker, self.running(trip, '"long"', '"string"', service_version="1"))
        announce(broker, self.running(trip))
        (problem,) = json.loads(check("--json").stdout)["problems"]
        assert (problem["way"], problem["out_there"]) == ("new code cannot read old records", ["flights@1"])

    def test_an_event_that_others_go_on_with_must_stay(
        self, trip: str, check: Callable[..., Result], broker: MemoryBroker
    ):
        flights = self.running(trip)
        moved = EventManifest(topic="flights")
        announce(broker, flights.model_copy(update={"events": flights.events | {"flights.FlightMoved": moved}}))
        assert check().exit_code == 0
        tell = HandlerManifest(name="tell", waits_for=[["flights.FlightMoved"]])
        announce(broker, Manifest(service="mail", service_version="3", handlers=[tell]))
        checked = check()
        assert checked.exit_code == 1
        assert "CH128  flights.FlightMoved: nobody here knows the event any more: mail reads it" in checked.stdout
        assert "    with mail@3\n" in checked.stdout

    def test_a_schema_that_nobody_announced_is_passed_over(
        self, trip: str, check: Callable[..., Result], broker: MemoryBroker
    ):
        announce(broker, self.running(trip, schemas={}))
        assert check().exit_code == 0

    def test_what_runs_already_fits(self, trip: str, check: Callable[..., Result], broker: MemoryBroker):
        announce(broker, self.running(trip))
        checked = check()
        assert (checked.exit_code, checked.stdout) == (0, "")
        assert "All 3 events fit what is out there." in checked.stderr

    def test_new_brokers_and_what_is_no_manifest_are_told(self, check: Callable[..., Result], broker: MemoryBroker):
        checked = check()
        assert (checked.exit_code, "nothing to compare with" in checked.stderr) == (0, True)
        write(broker, b"x", b"no manifest")
        assert "a manifest cannot be read" in check().stderr

    def test_one_that_was_taken_back_counts_no_more(
        self, trip: str, check: Callable[..., Result], broker: MemoryBroker
    ):
        announce(broker, manifest := self.running(trip, '"long"', '"string"'))
        assert check().exit_code == 1
        write(broker, manifest.key.encode(), None)
        taken_back = check()
        assert (taken_back.exit_code, "cannot be read" in taken_back.stderr) == (0, False)

    def test_brokers_that_fall_silent_are_no_clean_bill(
        self, trip: str, check: Callable[..., Result], broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
    ):
        announce(broker, self.running(trip))
        monkeypatch.setattr("choreo.testing.memory_transport.memory_broker.MemoryReader.poll", lambda *_: [])
        monkeypatch.setattr("choreo.reading.SILENCE_S_MAX", 0.0)
        silent = check()
        assert (silent.exit_code, "choreo.manifests could not be read to its end" in silent.stderr) == (1, True)

    def test_it_is_read_from_real_brokers(self, trip: str, choreo: Choreo):
        with closing(EmbeddedTransport()) as embedded:
            embedded.create([TopicSpec(MANIFESTS, 1)])
            announce(embedded, self.running(trip, '"long"', '"string"'))
            checked = choreo("schema", "check", trip, "--bootstrap-server", embedded.bootstrap_servers)
        assert "TripRequested.nights" in checked.stdout, checked.output
