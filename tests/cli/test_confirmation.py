import io
from typing import Any

import click
import pytest

from choreo.cli.confirmation import Confirmation

STEPS = [("desk.answer", {"handler": "answer"})]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def given(typed: str, monkeypatch: pytest.MonkeyPatch, **said: Any) -> bool:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    confirmation = Confirmation("ada", "why", **({"dry_run": False, "yes": False} | said))
    return confirmation.given("retry 1 parked step", 1, STEPS, ["It is late."], as_json=False)


def test_a_person_at_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert given("y\n", monkeypatch)
    with pytest.raises(click.exceptions.Exit) as left:
        given("n\n", monkeypatch)
    assert left.value.exit_code == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("retry 1 parked step\n  desk.answer\nIt is late.\nGo on? [y/N]: ")
    assert told.err.endswith("Nothing was done.\n")


def test_nobody_is_asked_who_has_said_yes_or_only_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert given("", monkeypatch, yes=True)
    assert not given("", monkeypatch, dry_run=True, yes=True)
    told = capsys.readouterr()
    assert told.out == "retry 1 parked step\n  desk.answer\n"
    assert "Go on?" not in told.err
