"""Each rule of the core, taken out alone, is found: by its number in docs/explanation/semantics.md."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from choreo.service import Service
from choreo.verify import Bounds, verify
from tests.choreographies import CHOREOGRAPHIES
from tests.planted import planted
from tests.verify.deposits import DEPOSITS
from tests.verify.quotes import QUOTES
from tests.verify.trips import trip
from tests.verify.visits import VISITS

Services = Callable[[], tuple[Service, ...]]
FEW = Bounds(duplicates=0, crashes=0, failures=0)


class Plant(NamedTuple):
    """A rule that is taken out.

    Attributes:
        module: Where it stands.
        old: The source that keeps it.
        new: What stands there instead.
        services: A choreography that needs it.
        bounds: What is looked at.
        invariant: What does not hold without it.
        told: A line of the story.
    """

    module: str
    old: str
    new: str
    services: Services
    bounds: Bounds
    invariant: str
    told: str


PLANTS = {
    "2, a duplicate runs again": Plant(
        "choreo.step.participant",
        "if fence is None:",
        "if True:",
        trip,
        Bounds(crashes=0, failures=0),
        "I2",
        "flights reads TripAsked a second time: fly → FlightBooked",
    ),
    "2, ids from the order of arrival": Plant(
        "choreo.step.settlement",
        "emitted_id(ready.saga_id, step, branch, trigger, index)",
        "emitted_id(ready.saga_id, step, branch, str(len(self.saga.memory.events)), index)",
        trip,
        FEW,
        "I2",
        "flights reads TripAsked: fly → FlightBooked",
    ),
    "5, the owner does not wait for the start": Plant(
        "choreo.step.participant",
        "if not memory.flags & MemoryFlag.STARTED and event.saga_type in rules.owned and not reaction.starts:",
        "if False:",
        lambda: VISITS,
        FEW,
        "I4",
        "desk reads VisitorCame: the step is skipped",
    ),
    "7, an event counts in its neighbours' branches": Plant(
        "choreo.scope",
        'return not outer or outer == inner or inner.startswith(outer + "/")',
        "return True",
        lambda: QUOTES,
        FEW,
        "I4",
        "quote → nothing",
    ),
    "8, what a service emits counts once it is read back": Plant(
        "choreo.step.settlement",
        "if envelope.type in rules.kept or rules.at_least_once:",
        "if False:",
        trip,
        FEW,
        "I4",
        "stay → HotelFull",
    ),
    "14, an original that comes after its cause": Plant(
        "choreo.step.compensations",
        "elif cause is not None:",
        "elif False:",
        lambda: DEPOSITS,
        FEW,
        "I4",
        "deposits reads TenantDoubted: takes note",
    ),
    "15, a step whose cause has come runs": Plant(
        "choreo.step.compensations",
        'reason = reason or f"{cause.type} came first"',
        "pass",
        trip,
        FEW,
        "I4",
        "unbook → FlightFreed",
    ),
    "16, nothing is undone of a step that was cancelled": Plant(
        "choreo.step.compensations",
        "if not undo.optional:",
        "if True:",
        trip,
        FEW,
        "I4",
        "flights reads TripAsked: the step is skipped",
    ),
    "18, an original is undone once a cause": Plant(
        "choreo.step.saga_memory",
        "return any((name, branch, trigger) in fences for name in handlers)",
        "return False",
        lambda: CHOREOGRAPHIES["checkout"].services,
        Bounds(duplicates=0, crashes=0),
        "I2",
        "was committed",
    ),
    "19, the owner ends a saga twice": Plant(
        "choreo.step.settlement",
        "if rules.owned and not self._owner_may(",
        "if False and not self._owner_may(",
        trip,
        FEW,
        "I5",
        "book → TripBooked",
    ),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_rule_that_is_taken_out_is_missed(name: str):
    plant = PLANTS[name]

    assert verify(*plant.services(), bounds=plant.bounds)[0].holds
    with planted(plant.module, plant.old, plant.new):
        [proof] = verify(*plant.services(), bounds=plant.bounds)

    assert proof.breach is not None
    told = [str(proof.breach), *proof.story]
    assert proof.breach.invariant == plant.invariant, told
    assert any(plant.told in line for line in told), told
