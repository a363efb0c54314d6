"""The model checker finds what is wrong, by the shortest way, and says how far it looked."""

import pytest

from choreo.cli.target import load
from choreo.errors import DeclarationError
from choreo.service import Service
from choreo.verify import Bounds, verify
from tests.checks.graphs import ORDER
from tests.planted import planted
from tests.verify.trips import TripAsked, trip

NOTHING = Bounds(duplicates=0, crashes=0, failures=0)


def test_a_right_choreography_holds_in_every_run():
    [proof] = verify(*trip())

    assert proof.holds
    assert (proof.saga, proof.breach, proof.story) == ("trip", None, ())
    assert proof.states > proof.rests > 0


def test_the_order_example_holds_with_a_duplicate_and_a_crash():
    [proof] = verify(*load(ORDER), bounds=Bounds(failures=0))

    assert proof.holds
    assert proof.depth > 15


def test_the_marketplace_holds_with_all_faults():
    [proof] = verify(*load(("services.marketplace",)))

    assert proof.holds


def test_a_compensation_that_is_missing_is_told_as_the_shortest_story():
    [proof] = verify(*trip(without={"free"}), bounds=NOTHING)

    assert proof.breach is None, "there is nothing to undo where nothing undoes it"
    [proof] = verify(*trip(without={"call off"}), bounds=NOTHING)
    assert proof.breach is not None
    assert proof.breach.invariant == "I4"
    assert proof.story[0] == "TripAsked is published"
    assert any(line.startswith("flights reads TripAsked: fly → FlightFull") for line in proof.story)


def test_what_a_crash_leaves_behind_needs_a_compensation_that_takes_none():
    """An effect whose commit was lost, and the cause before the step comes again (rule 16)."""
    broken = trip(without={"null"})

    assert verify(*broken, bounds=Bounds(crashes=0, failures=0))[0].holds
    [proof] = verify(*broken, bounds=Bounds(duplicates=0, failures=0))
    assert proof.breach is not None
    assert str(proof.breach) == (
        "I6 (effects are conserved): the saga is over, and what flights.fly did before a crash or an error is not undone"
    )
    assert "flights reads TripAsked: fly → FlightBooked; it crashes before the commit" in proof.story
    assert "flights reads TripAsked: the step is skipped" in proof.story


@pytest.mark.parametrize("bounds", [NOTHING, Bounds(duplicates=1, crashes=0, failures=0)], ids=["none", "one"])
def test_a_duplicate_is_only_looked_at_where_the_bounds_have_one(bounds: Bounds):
    with planted("choreo.step.participant", "if fence is None:", "if True:"):
        [proof] = verify(*trip(), bounds=bounds)

    assert (proof.breach is not None) == bool(bounds.duplicates)


def test_a_step_that_fails_may_wait_for_a_person_and_breaks_nothing():
    [proof] = verify(*trip(), bounds=Bounds(duplicates=0, crashes=0, failures=2))

    assert proof.holds


def test_it_says_where_it_had_to_stop():
    [proof] = verify(*trip(), bounds=Bounds(states_max=20))

    assert not proof.holds
    assert not proof.whole
    assert proof.breach is None
    assert proof.states == 20


def test_services_that_own_nothing_have_nothing_to_verify():
    assert verify(Service("alone")) == []


def test_what_cannot_run_is_refused():
    broken = Service("broken")

    @broken.handles
    def takes(_asked: TripAsked, _what: int) -> None: ...

    with pytest.raises(DeclarationError):
        verify(broken)
