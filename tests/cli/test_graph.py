"""`choreo graph`: each form on standard output, from code and from files of manifests."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import Result

Choreo = Callable[..., Result]


def test_mermaid_is_what_it_prints_unless_told(trip: str, choreo: Choreo):
    result = choreo("graph", trip)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("flowchart LR\n")
    assert result.stdout == choreo("graph", trip, "--format", "mermaid").stdout


@pytest.mark.parametrize(
    ("form", "beginning"),
    [("dot", "digraph choreography {"), ("svg", "<svg "), ("text", "saga trip, owned by flights"), ("asyncapi", "{")],
)
def test_every_form_is_printed_whole(form: str, beginning: str, trip: str, choreo: Choreo):
    result = choreo("graph", trip, "--format", form)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(beginning)
    assert "FlightRefused" in result.stdout
    assert result.stdout.endswith("\n")
    assert not result.stdout.endswith("\n\n")


def test_an_svg_is_a_document(trip: str, choreo: Choreo):
    assert ET.fromstring(choreo("graph", trip, "--format", "svg").stdout).tag == "{http://www.w3.org/2000/svg}svg"


def test_asyncapi_is_json(trip: str, choreo: Choreo):
    document = json.loads(choreo("graph", trip, "--format", "asyncapi").stdout)
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == {"flights", "trips"}
    assert json.loads(choreo("graph", trip, "--format", "asyncapi", "--json").stdout) == document


def test_json_is_what_a_program_draws_from(trip: str, choreo: Choreo):
    found = json.loads(choreo("graph", trip, "--json").stdout)
    assert found["services"] == ["flights"]
    assert found["steps"] == [{"name": "flights.book", "service": "flights", "kind": "forward", "column": 0}]
    assert {event["name"]: event["kind"] for event in found["events"]} == {
        "trips.TripRequested": "start",
        "flights.FlightBooked": "completes",
        "flights.FlightRefused": "fails",
    }
    assert {"kind": "takes", "source": "trips.TripRequested", "target": "flights.book", "note": ""} in found["arrows"]


def test_manifests_give_the_same_picture_as_the_code_they_come_from(trip: str, choreo: Choreo):
    told = choreo("describe", trip, "--json").stdout
    Path("manifests.json").write_text(told, encoding="utf-8")
    drawn = choreo("graph", trip).stdout
    assert choreo("graph", "manifests.json").stdout == drawn
    assert choreo("graph", "-", input=told).stdout == drawn


def test_code_and_manifests_are_drawn_together(trip: str, choreo: Choreo):
    told = choreo("describe", trip, "--json").stdout.replace('"flights"', '"hotels"').replace("flights.", "hotels.")
    Path("hotels.json").write_text(told, encoding="utf-8")
    services = json.loads(choreo("graph", trip, "hotels.json", "--json").stdout)["services"]
    assert sorted(services) == ["flights", "hotels"]


@pytest.mark.parametrize("held", ["", "{", '{"service": 1}', "[{}]", "\udcff"])
def test_a_file_that_holds_no_manifests_is_told_so(held: str, trip: str, choreo: Choreo):
    Path("odd.json").write_bytes(held.encode("utf-8", "surrogateescape"))
    result = choreo("graph", "odd.json")
    assert result.exit_code == 1
    assert "odd.json holds no manifests, as choreo describe --json prints them" in result.stderr


def test_a_file_that_is_not_there_is_told_so(trip: str, choreo: Choreo):
    result = choreo("graph", "missing.json")
    assert result.exit_code == 1
    assert "missing.json" in result.stderr


def test_an_unknown_form_is_wrong_usage(trip: str, choreo: Choreo):
    assert choreo("graph", trip, "--format", "png").exit_code == 2


class Terminal:
    """Standard output, as if a person looked at it."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.written = ""

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_colour", "coloured"), [("", True), ("1", False)])
def test_text_is_coloured_for_people_unless_they_say_no(
    no_colour: str, coloured: bool, trip: str, choreo: Choreo, monkeypatch: pytest.MonkeyPatch
):
    from choreo.cli.commands.graph import graph

    plain = choreo("graph", trip, "--format", "text").stdout
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_colour)
    graph.main([trip, "--format", "text"], standalone_mode=False)
    assert ("\x1b[" in terminal.written) is coloured
    assert "\x1b[" not in plain
    assert (terminal.written == plain) is not coloured
