"""The pure core: what an event makes a service do, and what comes of it.

`reactions` compiles a declaration once, `plan` turns (memory, envelope) into the calls that the fences allow, and
`settle` turns (memory, call, result) into events and notes; `failing` is what a failed attempt comes to, `timing` what
is to be done later, `repair` what a person asks for. Nothing here does I/O, waits or reads a clock: the runtime, the
simulator and the model checker all drive this same code.
"""

from choreo.step.call import Argument, Branch, Call, Emitted, Note, Outcome
from choreo.step.failing import admit, fail, free, park
from choreo.step.plan import plan
from choreo.step.reactions import Reaction, Rules
from choreo.step.repair import repair
from choreo.step.settle import reemit, settle, settle_later, skip
from choreo.step.timing import call_off, due, end, fire

__all__ = [
    "Argument",
    "Branch",
    "Call",
    "Emitted",
    "Note",
    "Outcome",
    "Reaction",
    "Rules",
    "admit",
    "call_off",
    "due",
    "end",
    "fail",
    "fire",
    "free",
    "park",
    "plan",
    "reemit",
    "repair",
    "settle",
    "settle_later",
    "skip",
]
