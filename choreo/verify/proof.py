"""What a verification comes to.

The answer about one saga type lives here: how far the search went, and the counterexample if there is one, in words.
The search itself does not (`search`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from choreo.invariants import Breach
from choreo.saga import Saga
from choreo.service import Declaration
from choreo.verify.judge import Judge
from choreo.verify.script import script
from choreo.verify.search import search
from choreo.verify.state import Bounds
from choreo.verify.story import story
from choreo.verify.world import World


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


def proof(declared: Sequence[Declaration], saga: Saga, bounds: Bounds) -> Proof:
    """Return what is found about one saga type of these services."""
    world = World(declared, saga, bounds)
    found = search(world, Judge(world))
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
        tuple(story(world, finding.actions)) if finding is not None else (),
        script(world, finding.wrong, finding.actions) if finding is not None else "",
    )
