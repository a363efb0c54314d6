"""Choreographies that are broken, each in one way with a name, and who is to find out which.

The tables are in `undoing`, `ending`, `waiting` and `effects`; `MUTANTS` is all of them.
"""

from tests.choreographies.mutants.effects import EFFECTS
from tests.choreographies.mutants.ending import ENDING
from tests.choreographies.mutants.mutant import ORIGINALS as ORIGINALS
from tests.choreographies.mutants.mutant import Mutant as Mutant
from tests.choreographies.mutants.undoing import UNDOING
from tests.choreographies.mutants.waiting import WAITING

MUTANTS: dict[str, Mutant] = UNDOING | ENDING | WAITING | EFFECTS
