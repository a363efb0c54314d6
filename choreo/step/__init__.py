"""The pure core: what happens to a service in a saga, and what it makes of it.

`Participant` is one service in one saga, with a table of who decides what; `decisions` has the records that it takes
and gives, and `Rules` is a declaration, compiled once. Nothing here does I/O, waits or reads a clock: the runtime, the
simulator and the model checker all drive this same code.
"""

from choreo.step.decisions import Argument, Branch, Decision, Emitted, Outcome, Reemit, Run
from choreo.step.participant import Participant
from choreo.step.rules import Rules
from choreo.step.saga_memory import SagaMemory

__all__ = [
    "Argument",
    "Branch",
    "Decision",
    "Emitted",
    "Outcome",
    "Participant",
    "Reemit",
    "Rules",
    "Run",
    "SagaMemory",
]
