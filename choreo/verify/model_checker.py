"""The model checker: every state of a saga's model, the nearest first, and the first that should not be.

Going through the states and the answer about each saga type live here; what leads from one state to the next does not
(`saga_model`), nor what is wrong with one (`judge`). Breadth first, so that the way to what is wrong is the shortest.
`choreo verify` and tests call it.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from choreo.invariants import Breach
from choreo.service import Service, declarations
from choreo.verify.counterexample import as_story, as_test
from choreo.verify.judge import Judge
from choreo.verify.model_state import Action, Bounds, ModelState
from choreo.verify.reduction import Reduction
from choreo.verify.saga_model import SagaModel


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found about one saga type.

    Attributes:
        saga: Its name.
        bounds: How far the model goes.
        states: Different states that were looked at.
        transitions: Ways from one to another.
        depth: Things that happen in the longest run.
        rests: States in which nothing is left to do.
        seconds: How long it took.
        whole: Nothing within the bounds was left out: there is no breach within them.
        breach: What does not hold; None where nothing was found.
        story: The shortest way to it, a line for each thing that happens.
        test: The same as a test to paste; "" where nothing was found.
    """

    saga: str
    bounds: Bounds
    states: int
    transitions: int
    depth: int
    rests: int
    seconds: float
    whole: bool
    breach: Breach | None
    story: tuple[str, ...]
    test: str

    @property
    def holds(self) -> bool:
        """Whether every invariant holds in every state within the bounds."""
        return self.whole and self.breach is None


def verify(*services: Service, bounds: Bounds | None = None) -> list[Proof]:
    """Return what is found about each saga type that these services own, in the order they are declared.

    Args:
        services: All services that work together.
        bounds: How far to go; a duplicate, a crash and a step that fails unless given.

    Raises:
        DeclarationError: If the services cannot run as declared, all mistakes at once.
    """
    declared = declarations(*services)
    chosen = bounds if bounds is not None else Bounds()
    models = (SagaModel(declared, saga, chosen) for each in declared for saga in each.sagas)
    return [search(model, Judge(model)) for model in models]


Origins = dict[ModelState, tuple[ModelState, Action] | None]
"""Each state that was met, and from where."""


def search(model: SagaModel, judge: Judge, *, reduced: bool = True) -> Proof:
    """Look at every state within the model's bounds, or all that `states_max` allows, until one is wrong.

    Where `reduced` leaves out orders that make no difference, what is wrong is looked for once more in all orders, so
    that the way to it is the shortest.
    """
    began = time.perf_counter()
    proof = _search(model, judge, Reduction(model) if reduced else None)
    if reduced and proof.breach is not None:
        # Its first line is the start.
        shortest = _search(model, judge, None, depth_max=len(proof.story) - 1)
        if shortest.breach is not None:
            proof = replace(proof, breach=shortest.breach, story=shortest.story, test=shortest.test)
    return replace(proof, seconds=time.perf_counter() - began)


def _search(model: SagaModel, judge: Judge, reduction: Reduction | None, depth_max: int | None = None) -> Proof:
    origins: Origins = {model.first: None}
    level = [model.first]
    transitions = rests = depth = 0

    def proof(depth: int, breach: Breach | None = None, at: ModelState = model.first, *, whole: bool = False) -> Proof:
        figures = len(origins), transitions, depth, rests, 0.0
        if breach is None:
            return Proof(model.saga.name, model.bounds, *figures, whole, None, (), "")
        actions = list(way_to(origins, at))
        story, test = tuple(as_story(model, actions)), as_test(model, breach, actions)
        return Proof(model.saga.name, model.bounds, *figures, whole, breach, story, test)

    while level and (depth_max is None or depth <= depth_max):
        following: list[ModelState] = []
        for state in level:
            ways = reduction.ways(state) if reduction is not None else model.ways(state)
            rests += not ways
            if wrong := judge.at_rest(state, ways, partial(way_to, origins, state)):
                return proof(depth, wrong, state)
            for action, after in ways:
                transitions += 1
                if after in origins:
                    continue
                origins[after] = (state, action)
                following.append(after)
                if wrong := judge.on_the_way(state, action):
                    return proof(depth + 1, wrong, after)
                if len(origins) >= model.bounds.states_max:
                    return proof(depth + 1)
        level = following
        depth += bool(level)
    return proof(depth, whole=not level)


def way_to(origins: Origins, state: ModelState) -> Iterator[Action]:
    """Return what led to a state, in order."""
    actions: list[Action] = []
    came = origins[state]
    while came is not None:
        before, action = came
        actions.append(action)
        came = origins[before]
    return reversed(actions)
