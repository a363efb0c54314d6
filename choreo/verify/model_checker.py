"""A verification, from services to an answer about each saga type.

How far the search went, and the counterexample if there is one, in words, live here; the search itself does not
(`search`). `choreo verify` and tests call it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from choreo.invariants import Breach
from choreo.saga import Saga
from choreo.service import Declaration, Service, declarations
from choreo.verify.counterexample import as_story, as_test
from choreo.verify.judge import Judge
from choreo.verify.model_state import Bounds
from choreo.verify.saga_model import SagaModel
from choreo.verify.search import search


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
    return [_proof(declared, saga, chosen) for each in declared for saga in each.sagas]


def _proof(declared: Sequence[Declaration], saga: Saga, bounds: Bounds) -> Proof:
    """Return what is found about one saga type of these services."""
    model = SagaModel(declared, saga, bounds)
    found = search(model, Judge(model))
    finding = found.finding
    return Proof(
        saga.name,
        bounds,
        found.states,
        found.transitions,
        found.depth,
        found.rests,
        found.seconds,
        found.whole,
        finding.wrong if finding is not None else None,
        tuple(as_story(model, finding.actions)) if finding is not None else (),
        as_test(model, finding.wrong, finding.actions) if finding is not None else "",
    )
