"""A bounded model checker: every run of a choreography, before it runs.

`verify` goes through all that services can do together: every outcome that a handler's hint declares and every error,
in every order that Kafka allows, with duplicates and crashes, and asks in every state whether the invariants hold. What
moves is the real core (`runtime.Course`, `step`); what lies between is a model. No I/O, no clock but to time itself.
"""

from choreo.service import Service, declarations
from choreo.verify.proof import Proof, proof
from choreo.verify.state import Bounds

__all__ = ["Bounds", "Proof", "verify"]


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
    return [proof(declared, saga, chosen) for each in declared for saga in each.sagas]
