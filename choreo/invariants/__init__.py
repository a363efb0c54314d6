"""What must be true of every saga, whatever happened to it.

Each invariant is a function from the evidence on one saga to what is wrong with it, in words. Simulations and the model
checker ask. This is the oracle: it judges by manifests, events and the rules as they are written, and so it alone keeps
copies of rules that the product has elsewhere (who emitted an event, for which trigger, what reaches a branch). Pure.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from choreo.choreography import Choreography
from choreo.invariants.evidence import Evidence
from choreo.invariants.saga_invariants import compensated, ended, rested, single
from choreo.invariants.tracker_agreement import agreed

__all__ = ["INVARIANTS", "TITLES", "Breach", "Evidence", "agreed", "compensated", "ended", "judge", "rested", "single"]

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

    I1 is left out where I4 is broken: of a saga that never rests, that says more.

    Args:
        graph: The choreography, from the manifests of all services.
        evidence: All that is left of the saga.
    """
    found = [Breach(name, text) for name, invariant in INVARIANTS.items() for text in invariant(graph, evidence)]
    restless = any(each.invariant == "I4" for each in found)
    return [each for each in found if each.invariant != "I1" or not restless]
