"""Which faults there are, and which of them a seed brings.

The points at which a process dies, rates, and the decisions that follow from them and a seed live here; when a fault is
asked for and what it does does not (`fault_injection`). Every decision is drawn by its own name and not in turn, so
that a run can be repeated with some of its faults alone: leaving one out changes no other.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict, TypeVar

from choreo.settings import Settings
from choreo.testing.history import header
from choreo.testing.memory_transport import CommitTrouble, Reached
from choreo.transport import Outgoing, Record

FAULTS_MAX = 200
"""Faults that strike in one run: after that brokers and processes are as they should be, and every saga can rest."""
DELAYS = (timedelta(seconds=0.5), timedelta(seconds=20), timedelta(minutes=10), timedelta(hours=3), timedelta(days=1.5))
"""How long a topic may be late: across retries and most deadlines."""
LATE_SHARE = 2
"""All that is late in a run is late by no more than this part of `remember_for`: later, it may have been forgotten."""
BATCHES = (1, 1, 1, 1, 2, 5)
"""How many records may be read at once in a simulation."""
LATER_DELIVERIES_MAX = 30
"""How many records may be read before a duplicate comes."""
_DRAWN_FROM = 1 << 64
T = TypeVar("T")


class Point(StrEnum):
    """Where in an event's way a process dies.

    `BEFORE_HANDLER`: the record is read and nothing is done. `AFTER_HANDLER`: the handler has run, effects and all, and
    its outcome is lost. `BEFORE_COMMIT`: all is worked out and nothing is written. `IN_COMMIT`: in the middle of the
    commit; of a transaction nothing is ever seen, without transactions the outputs are, and the record is read again.
    `COMMIT_LOST`: the commit has happened, and the process does not know. `AFTER_COMMIT`: it knows.
    """

    BEFORE_HANDLER = "before the handler"
    AFTER_HANDLER = "after the handler"
    BEFORE_COMMIT = "before its commit"
    IN_COMMIT = "in the middle of its commit"
    COMMIT_LOST = "when it has committed, not knowing that"
    AFTER_COMMIT = "when it has committed"


AT_HANDLERS = frozenset({Point.BEFORE_HANDLER, Point.AFTER_HANDLER})


class Interruption(NamedTuple):
    """What happens to a commit: the process dies there, or the brokers make trouble.

    Attributes:
        cause: Which of them.
        reached: How far the commit comes where there are no transactions.
    """

    cause: Point | CommitTrouble
    reached: Reached = Reached.OUTPUTS


class Rates(TypedDict, total=False):
    """How often each kind of fault strikes, as shares from 0 to 1: of duplicates a tenth, else 0.02, unless given.

    Attributes:
        crash: Of records: the process that reads one dies, at any point up to and behind its commit, and starts again.
        abort: Of records: nothing of the commit happens that one is in, and the same records come again.
        lose: Of records: the commit that one is in happens, and its response is lost; memory is restored.
        fail: Of calls: the handler raises, before or after it has run. A step is not made to fail so often that it
            parks; one with an `otherwise` may come to that.
        duplicate: Of events from outside, and with at-least-once delivery of all: they come twice.
        delay: Of records: their topic is late for a service, by seconds or days.
        reorder: Whether records of different partitions come in any order, rather than the oldest first.
    """

    crash: float
    abort: float
    lose: float
    fail: float
    duplicate: float
    delay: float
    reorder: bool


RATES: Mapping[str, Any] = MappingProxyType(
    Rates(crash=0.02, abort=0.02, lose=0.02, fail=0.02, duplicate=0.1, delay=0.02, reorder=True)
)
"""What holds unless something else is said."""
CALM = Rates(crash=0, abort=0, lose=0, fail=0, duplicate=0, delay=0, reorder=False)
"""Nothing strikes but what a test asks for."""


class Seed:
    """Decisions by name that follow from one number: the same on every machine and every version of Python."""

    def __init__(self, number: int) -> None:
        self.number = number

    def draw(self, *name: object) -> float:
        """Return a number in [0, 1) that belongs to this name."""
        return self._number_for(name) / _DRAWN_FROM

    def choose(self, options: Sequence[T], *name: object) -> T:
        """Return one of several options, each as likely as the others."""
        return options[self._number_for(name) % len(options)]

    def rank(self, service: str, record: Record) -> float:
        """Return when a service reads a record, before others or behind them."""
        return self.draw("order", service, record.topic, identity(record))

    def pick(self, service: str, heads: Sequence[Record]) -> int:
        """Return which of these records a service reads next."""
        return min(range(len(heads)), key=lambda place: self.rank(service, heads[place]))

    def _number_for(self, name: Sequence[object]) -> int:
        text = "\n".join((str(self.number), *map(str, name)))
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


class FaultPlan:
    """The faults of one run: what a seed brings at these rates.

    Args:
        seed: What they follow from.
        rates: How often they strike.
        settings: Whether handlers' events may come twice, as without transactions, and how late may not be too late.
        batches: How many records may be read at once, each number as likely as the others.

    Raises:
        ValueError: If a rate is no share.
        TypeError: If there is no such rate.
    """

    def __init__(self, seed: Seed, rates: Rates, settings: Settings, batches: Sequence[int] = BATCHES) -> None:
        if unknown := sorted(rates.keys() - RATES.keys()):
            raise TypeError(f"there is no {', '.join(unknown)}; faults are {', '.join(RATES)}")
        self.rates: dict[str, Any] = {**RATES, **rates}
        for name, rate in self.rates.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"{name}={rate} is no share: it lies between 0 and 1")
        self._seed = seed
        self._batches = batches
        self._copies = settings.delivery == "at_least_once"
        self._late_left = settings.remember_for / LATE_SHARE
        self.only: Collection[str] | None = None
        """The names of the only faults that may strike; None for whatever the seed brings."""
        self.struck: dict[str, str] = {}
        """What has struck, by name, in words."""

    def death(self, places: Sequence[str]) -> tuple[str, Point] | None:
        """Return at which point a process dies that reads these records."""
        name = next((name for place in places if (name := self._draw("crash", place))), "")
        return (name, self._seed.choose(tuple(Point), name, "point")) if name else None

    def reached(self, name: str) -> Reached:
        """Return how far the commit came in which a process died."""
        return self._seed.choose((Reached.MEMORY, Reached.OUTPUTS), name, "reached")

    def trouble(self, places: Sequence[str]) -> tuple[str, Interruption] | None:
        """Return what brokers do to the commit of these records."""
        for place in places:
            if name := self._draw("abort", place):
                return name, Interruption(CommitTrouble.ABORTED)
            if name := self._draw("lose", place):
                reached = self._seed.choose(tuple(Reached), name, "reached")
                return name, Interruption(CommitTrouble.UNANSWERED, reached)
        return None

    def failure(self, step: str, attempt: int) -> tuple[str, bool] | None:
        """Return whether a handler raises, and whether it has run by then."""
        name = self._draw("fail", step, attempt)
        return (name, self._seed.choose((False, True), name, "after")) if name else None

    def copy(self, record: Outgoing, *, outside: bool) -> int | None:
        """Return how many deliveries later a record comes a second time; None where it does not."""
        type_name = header(record, "ce_type")
        name = self._draw("duplicate", type_name, identity(record)) if outside or self._copies else ""
        if not name:
            return None
        self.struck[name] = f"{type_name} comes twice"
        return self._seed.choose(range(LATER_DELIVERIES_MAX), name, "later")

    def delay(self, service: str, record: Record) -> timedelta | None:
        """Return for how long a service gets nothing of the topic that it would read next; None for no delay."""
        name = self._draw("delay", service, record.topic, identity(record))
        if not name or name in self.struck:
            return None
        by = self._seed.choose(DELAYS, name, "by")
        if by > self._late_left:
            return None
        self._late_left -= by
        self.struck[name] = f"{record.topic} is late for {service} by {by}"
        return by

    def batch_max(self, service: str, record: Record) -> int:
        """Return how many records a service reads at once, this one first."""
        if len(self._batches) == 1:
            return self._batches[0]
        return self._seed.choose(self._batches, "batch", service, record.topic, identity(record))

    def _draw(self, kind: str, *place: object) -> str:
        """Return the name of the fault that is to strike here, or ""."""
        if not self.rates[kind] or len(self.struck) >= FAULTS_MAX:
            return ""
        name = " ".join((kind, *map(str, place)))
        if self.only is not None:
            return name if name in self.only else ""
        return name if self._seed.draw(name) < self.rates[kind] else ""


def identity(record: Record | Outgoing) -> str:
    """Return what tells a record from others of its topic: the same in every run that has it."""
    return header(record, "ce_id") or (record.key or b"").decode(errors="replace")
