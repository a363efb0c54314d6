"""A counterexample, pasted as a test, fails for the same reason."""

import pytest

from choreo.service import Service, declarations
from choreo.testing import InvariantBroken
from choreo.verify import Bounds, verify
from tests.planted import planted
from tests.verify.test_planted import PLANTS
from tests.verify.trips import trip


def pasted(test: str, services: tuple[Service, ...]) -> None:
    """Run a test as it would run in a user's module, which imports the services and their events."""
    space: dict[str, object] = {each.name.replace("-", "_"): each for each in services}
    for each in declarations(*services):
        space |= {kind.__name__: kind for kind in each.event_types}
    exec(compile(test, "pasted.py", "exec"), space)
    [run] = [value for name, value in space.items() if name.startswith("test_")]
    run()  # type: ignore[operator]


# In 14 the saga waits for a person, whom a simulation takes for nobody: it calls it stuck, mended or not.
PASTED = [name for name in PLANTS if not name.startswith("14")]


@pytest.mark.parametrize("name", PASTED)
def test_it_fails_as_the_model_does_and_passes_once_it_is_mended(name: str):
    plant = PLANTS[name]
    with planted(plant.module, plant.old, plant.new):
        [proof] = verify(*plant.services(), bounds=plant.bounds)
        with pytest.raises(InvariantBroken) as told:
            pasted(proof.test, plant.services())

    assert proof.breach is not None
    assert proof.breach.invariant in {each.invariant for each in told.value.breaches}
    pasted(proof.test, plant.services())


def test_what_a_crash_leaves_outside_is_for_the_user_to_assert():
    [proof] = verify(*trip(without={"null"}), bounds=Bounds(duplicates=0, failures=0))

    assert "s.crash(flights, at=Point.BEFORE_COMMIT)" in proof.test
    assert proof.test.endswith("# Assert here that what was done outside, and is not committed, is undone.\n")
    pasted(proof.test, trip(without={"null"}))


def test_where_nothing_is_wrong_there_is_nothing_to_paste():
    [proof] = verify(*trip())

    assert proof.test == ""
