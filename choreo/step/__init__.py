"""The pure core: what an event makes a service do, and what comes of it.

`reactions` compiles a declaration once, `plan` turns (memory, envelope) into the calls that the fences allow, and
`settle` turns (memory, call, result) into events and notes. Nothing here does I/O, waits or reads a clock: the
runtime, the simulator and the model checker all drive this same code.
"""

from choreo.step.call import Call, Note, Outcome
from choreo.step.plan import arrivals, plan
from choreo.step.reactions import Reaction, Rules
from choreo.step.settle import park, reemit, settle, skip

__all__ = ["Call", "Note", "Outcome", "Reaction", "Rules", "arrivals", "park", "plan", "reemit", "settle", "skip"]
