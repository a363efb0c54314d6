"""What must be true of every saga, whatever happened to it.

Each invariant is a function from what is left of one saga to what is wrong with it, in words; how a saga comes to be in
that state does not live here. Simulations and the model checker ask. They judge by the manifests, the events and the
rules as they are written, not by the code that keeps them: that code is what is on trial. Pure: no I/O, no clock.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from choreo.choreography import Choreography
from choreo.invariants.agreement import agreed
from choreo.invariants.compensation import compensated
from choreo.invariants.ending import ended, rested
from choreo.invariants.evidence import Evidence, Told
from choreo.invariants.identity import single

__all__ = [
    "INVARIANTS",
    "TITLES",
    "Breach",
    "Evidence",
    "Told",
    "agreed",
    "compensated",
    "ended",
    "judge",
    "rested",
    "single",
]

INVARIANTS: Mapping[str, Callable[[Choreography, Evidence], Iterable[str]]] = MappingProxyType(
    {"I1": compensated, "I2": single, "I3": ended, "I4": rested, "I5": agreed}
)
"""Each invariant by its number: it yields what is wrong."""
TITLES: Mapping[str, str] = MappingProxyType(
    {
        "I1": "all or compensated",
        "I2": "one result a step",
        "I3": "one end",
        "I4": "comes to rest",
        "I5": "the tracker agrees",
        "I6": "effects are conserved",
    }
)


class Breach(NamedTuple):
    """One thing that is not as it must be.

    Attributes:
        invariant: Its number, such as `I1`.
        text: What is wrong, for people.
    """

    invariant: str
    text: str

    def __str__(self) -> str:
        """Return the breach on one line."""
        return f"{self.invariant} ({TITLES[self.invariant]}): {self.text}"


def judge(graph: Choreography, evidence: Evidence) -> list[Breach]:
    """Return all that is wrong with a saga that has nothing left to do.

    Whether it was compensated is asked of one that has ended: of any other, that it never rests says more.

    Args:
        graph: The choreography, from the manifests of all services.
        evidence: What is left of the saga.
    """
    found = [Breach(name, text) for name, invariant in INVARIANTS.items() for text in invariant(graph, evidence)]
    restless = any(each.invariant == "I4" for each in found)
    return [each for each in found if each.invariant != "I1" or not restless]
