"""`choreo check`: one report for people, three for machines, and an exit code for the build."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from choreo.cli import main

SERVICES = """
from choreo import Event, Failure, Saga, Service

class Placed(Event, topic="orders"): pass
class Paid(Event, topic="payments"): pass
class Declined(Failure, topic="payments"): pass
class Done(Event, topic="orders"): pass

orders = Service("orders")
orders.owns(Saga("order", starts=Placed, completes=Done{fails}))

@orders.handles
def finish(paid: Paid) -> Done: return Done()

payments = Service("payments")

@payments.handles
def pay(placed: Placed) -> Paid | Declined: return Paid()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = f"checked_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(SERVICES.format(fails=""), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["check", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_what_is_wrong_is_told_with_its_place_and_what_to_do(module: str):
    code, out, err = run(module)
    assert code == 1
    assert "CH106  saga order may meet Declined, and nothing says that it has failed" in out
    assert f"at   {module}.py:" in out
    assert "fix  Give it fails=" in out
    assert "1 problem" in err


def test_of_what_is_sound_nothing_is_told():
    assert run("services.order", "services.inventory", "services.payment", "services.shipping") == (
        0,
        "",
        "Nothing is wrong.\n",
    )


def test_a_program_gets_json(module: str):
    code, out, err = run(module, "--format", "json")
    [problem] = json.loads(out)
    assert (code, err) == (1, "")
    assert (problem["level"], problem["code"]) == ("error", "CH106")
    assert problem["place"].startswith(f"{module}.py:")


def test_a_workflow_gets_annotations(module: str):
    _, out, _ = run(module, "--format", "github")
    assert out.startswith(f"::error file={module}.py,line=")
    assert ",title=CH106::saga order may meet Declined" in out
    assert len(out.splitlines()) == 1


def test_code_scanning_gets_sarif(module: str):
    _, out, _ = run(module, "--format", "sarif")
    log = json.loads(out)
    [one] = log["runs"]
    [result] = one["results"]
    assert log["version"] == "2.1.0"
    assert [rule["id"] for rule in one["tool"]["driver"]["rules"]] == ["CH106"]
    assert (result["ruleId"], result["level"]) == ("CH106", "error")
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == f"{module}.py"
    assert place["region"]["startLine"] > 1


def test_warnings_alone_are_fine_unless_strict(module: str):
    code, out, _ = run("services.payment:payments")
    assert (code, "warning  CH070" in out) == (0, True)
    assert run("services.payment:payments", "--strict")[0] == 1


def test_what_cannot_be_read_is_told_before_the_graph_is_looked_at(module: str):
    path = Path(f"{module}.py")
    path.write_text(path.read_text(encoding="utf-8").replace(") -> Done", ")"), encoding="utf-8")
    code, out, _ = run(module)
    assert code == 1
    assert "CH001" in out
    assert "CH106" not in out


def test_services_whose_code_is_not_at_hand_are_read_from_what_they_announced(module: str):
    described = CliRunner().invoke(main, ["describe", f"{module}:payments", "--json"])
    Path("payments.json").write_text(described.stdout, encoding="utf-8")

    code, out, _ = run(f"{module}:orders")
    assert (code, "CH070" in out) == (0, True)
    code, out, _ = run(f"{module}:orders", "payments.json")
    assert (code, "CH106" in out, "CH070" in out) == (1, True, False)
    assert run(f"{module}:orders", f"{module}:payments", "payments.json")[:2] == run(module)[:2]
    # Manifests alone will do.
    everything = CliRunner().invoke(main, ["describe", module, "--json"])
    Path("all.json").write_text(everything.stdout, encoding="utf-8")
    assert "CH106" in run("all.json")[1]


def test_a_file_that_holds_no_manifests_is_named(module: str):
    Path("odd.json").write_text("[]x", encoding="utf-8")
    code, _, err = run(module, "odd.json")
    assert code != 0
    assert "odd.json holds no manifests" in err
