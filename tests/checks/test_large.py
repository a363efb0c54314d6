"""A large choreography is looked at in little more work than a small one: work is counted, not timed."""

import os
import subprocess
import sys
from pathlib import Path
from types import FrameType

import choreo.checks
import choreo.choreography
from choreo.checks import check_manifests
from tests.checks.graphs import Manifests, altered, codes, made, outcome, step
from tests.checks.large import large

CHECKS = tuple(str(Path(room.__file__).parent) for room in (choreo.checks, choreo.choreography))


def work(manifests: Manifests) -> int:
    """Return how many functions of the checks, and of the graph they ask, are called."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(CHECKS)

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        assert check_manifests(manifests) == []
    finally:
        sys.setprofile(before)
    return calls


def test_of_a_large_choreography_nothing_is_said_that_is_not_so():
    manifests = large(6, chain=3)
    assert {len(each.handlers) for each in manifests} == {19, 21}
    assert check_manifests(manifests) == []
    assert codes(altered(manifests, "s4.undo0", causes=["s4.U1"])) == {"CH100"}
    assert codes(altered(manifests, "s4.undo3", causes=["s4.Refused", "s5.U0"])) == {"CH100"}


def test_twice_as_many_sagas_are_twice_the_work():
    ten = work(large(10, chain=5))
    assert ten <= 120_000
    assert work(large(20, chain=5)) <= 2.05 * ten


def test_a_saga_of_twice_as_many_services_is_less_than_three_times_the_work():
    """What each failure undoes reaches back to the start, so that it is more than twice; its square would be four times."""
    ten = work(large(10, chain=10))
    assert ten <= 140_000
    assert work(large(20, chain=20)) <= 3 * ten


def test_deep_sagas_are_read_to_their_end():
    """Two thousand steps in one saga, one behind another, deeper than any recursion."""
    steps = [
        step(f"b.step{n}", [[f"b.E{n}" if n else "a.Start"]], outcome(f"b.E{n + 1}"), outcome(f"b.NotDone{n}"))
        for n in range(2_000)
    ]
    failures = [f"b.NotDone{n}" for n in range(2_000)]
    ends = [step("a.finish", [["b.E2000"]], outcome("a.Done")), step("a.fail", [failures], outcome("a.Failed"))]
    assert check_manifests(made(*steps, *ends)) == []
    assert codes(altered(made(*steps, *ends), "a.fail", waits_for=[failures[:-1]])) == {"CH112"}


def test_what_is_found_depends_on_no_hash_seed():
    """Beyond the ways that are followed, the order in which they are followed decides: it is the same in any process."""
    program = (
        "from choreo.checks import check_manifests\n"
        "from tests.diagram.scenes import invented\n"
        "print(*check_manifests(invented(24)), sep='\\n')"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "4")
    }
    assert len(answers) == 1
