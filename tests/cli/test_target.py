from pathlib import Path

import click
import pytest

from choreo.cli.command_group import CommandFailed
from choreo.cli.target import load
from choreo.errors import ChoreoError


def names(*targets: str) -> list[str]:
    return [service.name for service in load(targets)]


def test_a_target_is_an_attribute_a_module_or_a_folder(trip: str):
    assert names(f"{trip}.flights:flights") == ["flights"]
    assert names(f"{trip}.flights") == ["flights"]
    assert names(trip) == ["flights"]
    assert names(f"{trip}/", f"./{trip}") == ["flights"]


def test_a_service_that_two_targets_name_is_found_once(trip: str):
    assert len(load([f"{trip}.flights", f"{trip}.flights:flights", trip])) == 1


def test_a_folder_elsewhere_is_importable_from_its_packages_root(trip: str, tmp_path_factory: pytest.TempPathFactory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / f"{trip}x").mkdir()
    (outside / f"{trip}x" / "__init__.py").write_text("")
    (outside / f"{trip}x" / "service.py").write_text("from choreo import Service\nmine = Service('mine')\n")
    assert names(str(outside / f"{trip}x")) == ["mine"]


def test_scripts_and_tests_in_a_folder_are_not_run(trip: str):
    folder = Path(trip)
    (folder / "script.py").write_text("raise SystemExit('a script ran')")
    (folder / "test_it.py").write_text("raise SystemExit('a test ran: Service')")
    (folder / "tests").mkdir()
    (folder / "tests" / "more.py").write_text("raise SystemExit('a test ran: Service')")
    assert names(f"{trip}/") == ["flights"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{trip}.flihgts", "Did you mean {trip}.flights?"),
        ("{trip}.flights:flight", "Did you mean {trip}.flights:flights?"),
        ("{trip}.flights:", "no attribute named"),
        ("{trip}.flights:book", "is a function, not a Service"),
        ("{trip}.events", "has no Service in it"),
        ("{trip}/flights.py", "{trip}.flights"),
        ("nowhere", "There is no module nowhere"),
        ("empty", "No module under empty has a Service"),
    ],
)
def test_a_wrong_target_is_told_with_what_it_could_have_meant(trip: str, target: str, said: str):
    Path("empty").mkdir()
    with pytest.raises(click.UsageError) as caught:
        load([target.format(trip=trip)])
    assert said.format(trip=trip) in caught.value.message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import nowhere_at_all\n", "No module named 'nowhere_at_all'"),
        ("\n1 / 0\n", "broken.py:2"),
        ("def", "broken.py:1"),
    ],
)
def test_a_module_that_does_not_import_is_told_with_its_line(trip: str, body: str, said: str):
    (Path(trip) / "broken.py").write_text(body)
    with pytest.raises(CommandFailed) as caught:
        load([f"{trip}.broken"])
    assert said in caught.value.message


def test_a_refused_declaration_stays_what_it_is(trip: str):
    (Path(trip) / "refused.py").write_text("from choreo import Event\nclass A(Event, topic='A B'): pass\n")
    with pytest.raises(ChoreoError, match="topic 'A B'"):
        load([f"{trip}.refused"])
