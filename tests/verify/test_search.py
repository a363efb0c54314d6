"""Leaving out orders that make no difference leaves out nothing that matters."""

import pytest

from choreo.cli.target import load
from choreo.service import Service, declarations
from choreo.verify.judge import Judge
from choreo.verify.model_checker import search
from choreo.verify.model_state import Bounds, ModelState
from choreo.verify.saga_model import SagaModel
from tests.checks.graphs import ORDER
from tests.verify.trips import trip

CASES = {
    "trip": (trip(), Bounds()),
    "order": (load(ORDER), Bounds(duplicates=0, crashes=0)),
    "marketplace": (load(("services.marketplace",)), Bounds(duplicates=0)),
}


def model(services: tuple[Service, ...], bounds: Bounds) -> SagaModel:
    declared = declarations(*services)
    [saga] = [saga for each in declared for saga in each.sagas]
    return SagaModel(declared, saga, bounds)


class Rests(Judge):
    """Notes every state that is at rest."""

    def __init__(self, of: SagaModel) -> None:
        super().__init__(of)
        self.found: set[tuple[frozenset[bytes], frozenset[object], int]] = set()
        self.of = of

    def at_rest(self, state: ModelState, ways: object, way: object) -> None:
        if not ways:
            memories = frozenset(self.of.register.memories[each] for each in state.memories)
            events = frozenset(tuple(each)[1:] for each in self.of.history(state))
            spent = state.duplicates * 100 + state.crashes * 10 + state.failures
            self.found.add((memories, events, spent))


@pytest.mark.parametrize("name", CASES)
def test_the_reduced_search_comes_to_the_same_rests(name: str):
    whole, reduced = (Rests(model(*CASES[name])) for _ in range(2))

    all_of_it = search(whole.of, whole, reduced=False)
    less = search(reduced.of, reduced)

    assert all_of_it.whole
    assert less.whole
    assert less.states < all_of_it.states
    assert reduced.found == whole.found


def test_the_story_is_the_shortest_although_orders_are_left_out():
    services = trip(without={"null"})
    bounds = Bounds(duplicates=0, failures=0)
    found = [
        search(each, Judge(each), reduced=reduced) for reduced in (True, False) for each in [model(services, bounds)]
    ]

    lengths = [len(each.story) for each in found if each.breach is not None]
    assert len(lengths) == 2
    assert lengths[0] == lengths[1]
