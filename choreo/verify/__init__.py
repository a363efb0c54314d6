"""A bounded model checker: every run of a choreography, before it runs.

`verify` goes through all that services can do together: every outcome that a handler's hint declares and every error,
in every order that Kafka allows, with duplicates and crashes, and asks in every state whether the invariants hold. What
moves is the real core (`runtime.saga_processor`, `step`); what lies between is a model. No I/O, no clock but to time
itself.
"""

from choreo.verify.model_checker import Proof, verify
from choreo.verify.model_state import Bounds

__all__ = ["Bounds", "Proof", "verify"]
