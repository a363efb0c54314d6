"""`choreo verify`: an answer for people, one for machines, and an exit code for the build."""

import json

from click.testing import CliRunner

from choreo.cli import main

BROKEN = "tests.verify.broken"


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["verify", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_what_holds_is_told_with_its_bounds():
    code, out, _ = run("services.marketplace", "--duplicates", "0", "--crashes", "0")

    assert code == 0
    assert out.startswith("holds  checkout  in every run\n")
    assert "within    0 duplicates, 0 crashes, 1 failing step, 2 branches" in out
    assert "states" in out


def test_what_is_broken_is_told_as_a_story():
    code, out, _ = run(BROKEN, "--duplicates", "0", "--failures", "0")

    assert code == 1
    assert out.startswith("broken  trip  I6 (effects are conserved): the saga is over, and what flights.fly did")
    assert "    1. TripAsked is published\n" in out
    assert "fly → FlightBooked; it crashes before the commit" in out


def test_bounds_that_are_too_narrow_are_no_proof():
    code, out, _ = run("services.marketplace", "--states-max", "10")

    assert code == 1
    assert out.startswith("unknown  checkout  no breach in the first 10 states; --states-max allows no more")


def test_machines_read_json():
    code, out, _ = run(BROKEN, "--json", "--duplicates", "0", "--failures", "0")

    [proof] = json.loads(out)
    assert code == 1
    assert proof["holds"] is False
    assert proof["breach"]["invariant"] == "I6"
    assert proof["story"][0] == "TripAsked is published"
    assert proof["bounds"]["crashes"] == 1


def test_services_that_own_no_saga_are_told_so():
    code, out, err = run("services.inventory")

    assert (code, out) == (0, "")
    assert "nothing to verify" in err
