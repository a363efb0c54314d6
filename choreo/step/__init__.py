"""The pure core: what happens to a service in a saga, and what it makes of it.

`reactions` compiles a declaration once; `Participant` is one service in one saga, with a table of who decides what;
`decisions` has the records that it takes and gives. Nothing here does I/O, waits or reads a clock: the runtime, the
simulator and the model checker all drive this same code.
"""

from choreo.step.decisions import (
    Argument,
    Branch,
    Decision,
    Emitted,
    Note,
    Outcome,
    Park,
    Reemit,
    Run,
    Skip,
)
from choreo.step.participant import Participant
from choreo.step.reactions import Reaction, Rules

__all__ = [
    "Argument",
    "Branch",
    "Decision",
    "Emitted",
    "Note",
    "Outcome",
    "Park",
    "Participant",
    "Reaction",
    "Reemit",
    "Rules",
    "Run",
    "Skip",
]
