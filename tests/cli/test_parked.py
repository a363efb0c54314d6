import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from choreo.records import COMMANDS, Command
from choreo.saga import SagaState
from tests.cli.desk import Desk

Choreo = Callable[..., Result]
OpenDesk = Callable[..., Desk]
WHO = ("--actor", "ada", "--reason", "the printer works again")


def history(choreo: Choreo, saga: str) -> list[tuple[str, str, str]]:
    shown = json.loads(choreo("parked", "show", saga, "--json").stdout)
    return [(each["kind"], each["actor"], each["reason"]) for each in shown["history"] if each["actor"]]


def items(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout)["items"])


def test_list_shows_each_step_that_waits_with_the_first_line_of_its_error(desk: OpenDesk, choreo: Choreo):
    first, second = desk("answer", "remark").ask("a-1", "a-2")
    result = choreo("parked", "list")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["saga", "id", "key", "step", "branch", "since", "attempts", "error"]
    assert len(lines) == 5
    line = next(line for line in lines if first in line and "desk.answer" in line)
    assert "a-1" in line
    assert line.rstrip().endswith(
        "1  RetriesExhausted: desk.answer raised ValueError on attempt 1: answer cannot do a-1"
    )
    assert second in result.stdout
    assert "never could" not in result.stdout


@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        ((), {"answer", "remark", "file"}),
        (("--service", "desk"), {"answer", "remark"}),
        (("--handler", "file"), {"file"}),
        (("--service", "files", "--handler", "answer"), set()),
        (("--type", "ask", "--handler", "remark"), {"remark"}),
        (("--type", "other"), set()),
    ],
)
def test_list_filters(desk: OpenDesk, choreo: Choreo, flags: tuple[str, ...], steps: set[str]):
    opened = desk("answer", "remark")
    opened.ask("a-1")
    opened.broken = {"file"}
    opened.ask("a-2")
    assert {each["handler"] for each in items(choreo("parked", "list", *flags, "--json"))} == steps


def test_list_goes_through_all_pages(desk: OpenDesk, choreo: Choreo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("choreo.cli.tracker_store.PAGE_SAGAS", 2)
    sagas = desk("answer").ask(*(f"a-{number}" for number in range(5)))
    assert {each["saga_id"] for each in items(choreo("parked", "list", "--json"))} == set(sagas)


def test_where_nothing_waits_that_is_said(desk: OpenDesk, choreo: Choreo):
    (saga,) = desk().ask("a-1")
    result = choreo("parked", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No step waits for a person.\n")
    assert "No step waits" in choreo("parked", "show", saga).stderr
    assert choreo("parked", "retry", saga, *WHO, "--yes").exit_code == 1
    assert choreo("parked", "resolve", saga, *WHO, "--yes").exit_code == 1


def test_show_tells_the_whole_error_and_what_would_resolve_it(desk: OpenDesk, choreo: Choreo):
    opened = desk("answer")
    (saga,) = opened.ask("a-1")
    result = choreo("parked", "show", "a-1")
    assert result.exit_code == 0, result.output
    told = result.stdout
    assert told.startswith(f"ask  a-1  {saga}  pending")
    assert "desk.answer  parked since" in told
    assert "attempts      1" in told
    assert "runs for      files.Filed  " in told
    assert "resolve with  desk.Answered, desk.Declined, nothing" in told
    assert "answer cannot do a-1\n    and never could\n" in told
    shown = json.loads(choreo("parked", "show", saga, "--json").stdout)
    assert shown["steps"][0]["resolve_with"] == ["desk.Answered", "desk.Declined"]
    assert [each["kind"] for each in shown["history"]] == ["parked"]


def test_r28_retry_has_a_step_tried_again_and_keeps_who_asked_why(desk: OpenDesk, choreo: Choreo):
    opened = desk("answer", "remark")
    first, second = opened.ask("a-1", "a-2")
    opened.broken.clear()
    result = choreo("parked", "retry", "a-1", *WHO, "--yes", "--json")
    assert result.exit_code == 0, result.output
    sent = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(each["command"], each["handler"]) for each in sent] == [("retry", "remark"), ("retry", "answer")]
    assert "2 commands sent" in result.stderr
    opened.work()
    assert opened.scenario.saga(first).state is SagaState.COMPLETED
    assert history(choreo, first) == [("resumed", "ada", "the printer works again")] * 2
    assert {each["saga_id"] for each in items(choreo("parked", "list", "--json"))} == {second}


def test_r28_asking_twice_is_safe(desk: OpenDesk, choreo: Choreo):
    opened = desk("answer")
    (saga,) = opened.ask("a-1")
    opened.broken.clear()
    for _ in range(2):
        assert choreo("parked", "retry", saga, *WHO, "--yes").exit_code == 0
    opened.work()
    assert opened.kinds(saga).count("Answered") == 1
    assert [kind for kind, _, _ in history(choreo, saga)] == ["resumed", "refused"]
    told = choreo("parked", "show", saga).stdout
    refused = "retry: the step is done already, and nothing waits for a person here"
    assert refused in told
    shown = choreo("sagas", "show", saga).stdout
    assert "▶ resumed" in shown
    assert f"ada: the printer works again ({refused})" in " ".join(shown.split())


def test_a_command_is_a_record_that_its_service_reads(desk: OpenDesk, choreo: Choreo):
    opened = desk("answer")
    (saga,) = opened.ask("a-1")
    assert choreo("parked", "retry", saga, *WHO, "--yes").exit_code == 0
    (record,) = opened.records(COMMANDS)
    command = Command.from_record(record.key, record.value)
    headers = {name: value.decode() for name, value in record.headers}
    assert (command.service, command.handler, command.branch) == ("desk", "answer", "")
    assert command.trigger == opened.scenario.events_of(saga)[1].event_id
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": command.command_id,
        "ce_type": "choreo.commands",
        "ce_source": "/choreo/cli",
        "ce_time": command.at.isoformat().replace("+00:00", "Z"),
        "content-type": "application/json",
    }
    assert command.command_id[14] == "7"


def test_a_dry_run_shows_a_sample_and_sends_nothing(desk: OpenDesk, choreo: Choreo):
    opened = desk("answer")
    opened.ask(*(f"a-{number}" for number in range(12)))
    result = choreo("parked", "retry", "--all", *WHO, "--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "retry 12 parked steps"
    assert len(lines) == 12
    assert lines[1].startswith("  desk.answer of a-")
    assert "answer cannot do a-" in lines[1]
    assert lines[-1] == "  and 2 more"
    shown = json.loads(choreo("parked", "retry", "--all", *WHO, "--dry-run", "--json").stdout)
    assert (shown["count"], len(shown["sample"])) == (12, 10)
    assert opened.commands() == []


def test_without_a_terminal_yes_must_be_said(desk: OpenDesk, choreo: Choreo):
    opened = desk("answer")
    opened.ask("a-1")
    result = choreo("parked", "retry", "--all", *WHO)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "retry 1 parked step\n" in result.stderr
    assert "Say --yes to do it" in result.stderr
    assert opened.commands() == []


@pytest.mark.parametrize(
    "flags",
    [(), ("--all", "a-1"), ("--all", "--service", "desk"), ("a-1", "--handler", "answer"), ("--all", "--type", "ask")],
)
def test_there_is_one_way_of_choosing(desk: OpenDesk, choreo: Choreo, flags: tuple[str, ...]):
    desk("answer").ask("a-1")
    result = choreo("parked", "retry", *flags, *WHO, "--yes")
    assert result.exit_code == 2
    assert "Say which steps" in result.stderr


@pytest.mark.parametrize(
    "flags", [("--actor", "ada"), ("--reason", "why"), ("--actor", " ", "--reason", "why"), ("--actor", "a" * 2001)]
)
def test_who_and_why_must_be_said(desk: OpenDesk, choreo: Choreo, flags: tuple[str, ...]):
    desk("answer").ask("a-1")
    assert choreo("parked", "retry", "--all", *flags, "--yes").exit_code == 2


def test_steps_are_chosen_by_filters_or_all(desk: OpenDesk, choreo: Choreo):
    opened = desk("answer", "remark")
    opened.ask("a-1", "a-2")
    for flags in (("--handler", "remark"), ("--type", "ask"), ("--all",)):
        assert choreo("parked", "retry", *flags, *WHO, "--yes").exit_code == 0
    assert len(opened.commands()) == 2 + 4 + 4


def test_sagas_without_a_parked_step_are_told_and_the_others_retried(desk: OpenDesk, choreo: Choreo):
    opened = desk()
    (whole,) = opened.ask("a-1")
    opened.broken = {"answer"}
    (saga,) = opened.ask("a-2")
    result = choreo("parked", "retry", whole, "a-2", saga, *WHO, "--yes")
    assert result.exit_code == 0, result.output
    assert f"{whole}: no step of it waits" in result.stderr
    assert [each.saga_id for each in opened.commands()] == [saga]
    assert choreo("parked", "retry", "a-2", "a-3", *WHO, "--yes").exit_code == 1
    assert len(opened.commands()) == 1


def test_r28_resolve_with_an_event_ends_the_step_with_it(desk: OpenDesk, choreo: Choreo):
    opened = desk("answer")
    (saga,) = opened.ask("a-1")
    done = choreo("parked", "resolve", saga, "-", "--event", "Answered", *WHO, "--yes", input='{"ask_id": "by hand"}')
    assert done.exit_code == 0, done.output
    assert f"desk.answer of a-1 ({saga}) with desk.Answered: " in done.stderr
    opened.work()
    assert opened.scenario.saga(saga).state is SagaState.COMPLETED
    assert opened.scenario.events_of(saga)[-1].event.ask_id == "by hand"  # type: ignore[attr-defined]
    assert history(choreo, saga) == [("resolved", "ada", "the printer works again")]


def test_r28_resolve_with_nothing_ends_the_step_without_an_event(desk: OpenDesk, choreo: Choreo):
    opened = desk("remark")
    (saga,) = opened.ask("a-1")
    assert choreo("parked", "resolve", "a-1", *WHO, "--yes").exit_code == 0
    opened.work()
    assert opened.kinds(saga) == ["Asked", "Filed", "Answered"]
    assert items(choreo("parked", "list", "--json")) == []


def test_r28_what_a_service_refuses_is_told(desk: OpenDesk, choreo: Choreo):
    opened = desk("answer")
    (saga,) = opened.ask("a-1")
    assert choreo("parked", "resolve", saga, '{"no": 1}', "--event", "desk.Answered", *WHO, "--yes").exit_code == 0
    opened.work()
    assert [kind for kind, _, _ in history(choreo, saga)] == ["refused"]
    assert "resolve: that is no desk.Answered" in choreo("parked", "show", saga).stdout
    assert len(items(choreo("parked", "list", "--json"))) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{}",), "say which one with --event"),
        (("{", "--event", "Answered"), "are no JSON"),
        (("[]", "--event", "Answered"), "are a JSON object"),
        (('{"ask_id": "\\ud800"}', "--event", "Answered"), "are no JSON"),
        (
            ("--event", "Anwsered"),
            "desk.answer emits desk.Answered or desk.Declined, not Anwsered. Did you mean Answered?",
        ),
        (("--event", "Filed"), "not Filed."),
    ],
)
def test_an_event_that_cannot_be_is_refused_at_once(
    desk: OpenDesk, choreo: Choreo, arguments: tuple[str, ...], said: str
):
    opened = desk("answer")
    opened.ask("a-1")
    result = choreo("parked", "resolve", "a-1", *arguments, *WHO, "--yes")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert opened.commands() == []


def test_of_several_parked_steps_one_must_be_named(desk: OpenDesk, choreo: Choreo):
    opened = desk("answer", "remark")
    opened.ask("a-1")
    result = choreo("parked", "resolve", "a-1", *WHO, "--yes")
    assert result.exit_code == 2
    assert "desk.answer, for " in result.stderr
    assert "desk.remark, for " in result.stderr
    assert "choose one with --service, --handler" in result.stderr
    assert choreo("parked", "resolve", "a-1", *WHO, "--yes", "--branch", "elsewhere").exit_code == 1
    trigger = next(each["trigger"] for each in items(choreo("parked", "list", "--handler", "answer", "--json")))
    for flags in (("--handler", "remark"), ("--trigger", trigger)):
        assert choreo("parked", "resolve", "a-1", *WHO, "--yes", *flags).exit_code == 0
    assert [each.handler for each in opened.commands()] == ["remark", "answer"]


def test_r22_a_compensation_that_is_stuck_is_shown_and_retried(desk: OpenDesk, choreo: Choreo):
    opened = desk("unfile")
    opened.declines = True
    (saga,) = opened.ask("a-1")
    (step,) = items(choreo("parked", "list", "--json"))
    assert (step["service"], step["handler"]) == ("files", "unfile")
    assert step["trigger"] == opened.scenario.events_of(saga)[1].event_id
    assert "resolve with  files.Unfiled, nothing" in choreo("parked", "show", saga).stdout
    opened.broken.clear()
    assert choreo("parked", "retry", "--service", "files", *WHO, "--yes").exit_code == 0
    opened.work()
    assert opened.kinds(saga)[-1] == "Unfiled"
    assert opened.scenario.saga(saga).state is SagaState.FAILED
    assert items(choreo("parked", "list", "--json")) == []


def test_a_step_that_fails_again_is_parked_again(desk: OpenDesk, choreo: Choreo):
    opened = desk("answer")
    (saga,) = opened.ask("a-1")
    assert choreo("parked", "retry", saga, *WHO, "--yes").exit_code == 0
    opened.work()
    assert len(items(choreo("parked", "list", "--json"))) == 1
    shown = json.loads(choreo("parked", "show", saga, "--json").stdout)
    assert [each["kind"] for each in shown["history"]] == ["parked", "resumed", "parked"]


def test_a_topic_that_is_missing_is_told_with_what_to_type(
    desk: OpenDesk, choreo: Choreo, monkeypatch: pytest.MonkeyPatch
):
    from choreo.testing import MemoryBroker

    desk("answer").ask("a-1")
    monkeypatch.setattr("choreo.cli.commands.parked.connect", lambda _: MemoryBroker())
    result = choreo("parked", "retry", "--all", *WHO, "--yes")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "CH080 topic choreo.commands does not exist" in result.stderr
    assert "choreo topics apply" in result.stderr


def test_the_json_schema_in_the_docs_is_the_command_s_own():
    path = Path(__file__).parents[2] / "docs" / "reference" / "schemas" / "command.schema.json"
    assert json.loads(path.read_text()) == Command.model_json_schema(), "run: make generated"
