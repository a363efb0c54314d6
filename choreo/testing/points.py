"""Where a service may be struck, and what by.

The points of an event's way at which a process dies, and what is raised and told there, live here; whether something
strikes does not (`faults`). Tests name a point, members act on it.
"""

from enum import StrEnum
from typing import NamedTuple

from choreo.testing.group import Reached, Trouble


class Point(StrEnum):
    """Where in an event's way a process dies.

    `BEFORE_HANDLER`: the record is read and nothing is done. `AFTER_HANDLER`: the handler has run, effects and all, and
    nobody knows what came of it. `BEFORE_COMMIT`: all is worked out and nothing is written. `IN_COMMIT`: in the middle
    of the commit; of a transaction nothing is ever seen, without transactions the outputs are, and the record is read
    again. `COMMIT_LOST`: the commit has happened, and the process does not know. `AFTER_COMMIT`: it knows.
    """

    BEFORE_HANDLER = "before the handler"
    AFTER_HANDLER = "after the handler"
    BEFORE_COMMIT = "before its commit"
    IN_COMMIT = "in the middle of its commit"
    COMMIT_LOST = "when it has committed, not knowing that"
    AFTER_COMMIT = "when it has committed"


AT_HANDLERS = frozenset({Point.BEFORE_HANDLER, Point.AFTER_HANDLER})


class TransientFault(Exception):
    """What a handler is made to raise that has done nothing wrong: its next attempt may succeed."""


class Died(BaseException):
    """The process is dead: nothing in it goes on, and no handler catches it."""


class Blow(NamedTuple):
    """What happens to a commit: the process dies there, or the brokers make trouble.

    Attributes:
        what: Which of them.
        reached: How far the commit comes where there are no transactions.
    """

    what: Point | Trouble
    reached: Reached = Reached.OUTPUTS
