"""Where everything in the model stands, and what may happen next.

The records of the model live here, with the bounds of it; they hold no logic. Numbers in them stand for memories and
events that the `register` knows.
"""

from dataclasses import dataclass
from typing import NamedTuple

from choreo.memory import TimerKey
from choreo.verify.actor import Move

END = -1
"""What lies in a queue for the end of the saga."""
AGAIN = ""
"""The queue of what comes to a service a second time."""
OUTSIDE = "outside"
Queues = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far the model goes.

    Attributes:
        duplicates: Records that come twice to a service.
        crashes: Crashes between an effect and its commit.
        failures: Steps that raise or run into their time limit: once, or until their retries are spent.
        branches: Most events in a list that opens branches.
        states_max: States that are looked at; beyond it the answer says that it is not the whole.
    """

    duplicates: int = 1
    crashes: int = 1
    failures: int = 1
    branches: int = 2
    states_max: int = 2_000_000


class ModelState(NamedTuple):
    """Where everything stands; numbers stand for what the register knows.

    Attributes:
        memories: What each service remembers.
        queues: What has been committed and not yet read, a service and topic.
        history: Every event that was ever committed, a bit each.
        loose: Effects that no commit tells of, a bit each.
        answered: What steps came to whose commit was lost, a bit each: the same idempotency key gets the same answer.
        duplicates: Records that came twice.
        crashes: Crashes so far.
        failures: Steps that failed so far.
        outside: Events from outside that have not come, a bit each.
    """

    memories: tuple[int, ...]
    queues: Queues
    history: int
    loose: int
    answered: int
    duplicates: int
    crashes: int
    failures: int
    outside: int


class Action(NamedTuple):
    """One way on: what happened.

    Attributes:
        service: To whom; `outside` for an event from there.
        item: The event's number, a timer, or `END`.
        move: What came of it; None for an event from outside.
        crash: It ran, and crashed before its commit.
        twice: The record comes once more.
        again: It has come before.
    """

    service: int
    item: int | TimerKey
    move: Move | None
    crash: bool = False
    twice: bool = False
    again: bool = False
