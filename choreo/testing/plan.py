"""Which faults chance brings.

Rates, and the decisions that follow from them and a seed, live here; when one is asked for and what it does does not
(`faults`). A simulation has a plan. Every fault has a name that says where it strikes, so that a run can be repeated
with some of its faults alone.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, TypedDict

from choreo.settings import Settings
from choreo.testing.chance import Chance
from choreo.testing.group import Reached, Trouble
from choreo.testing.points import Blow, Point
from choreo.transport import Outgoing, Record

FAULTS_MAX = 200
"""Faults that strike in one run: after that brokers and processes are as they should be, and every saga can rest."""
DELAYS = (timedelta(seconds=0.5), timedelta(seconds=20), timedelta(minutes=10), timedelta(hours=3), timedelta(days=1.5))
"""How long a topic may be late: across retries and most deadlines."""
LATE_SHARE = 2
"""All that is late in a run is late by no more than this part of `remember_for`: later, it may have been forgotten."""
BATCHES = (1, 1, 1, 1, 2, 5)
"""How many records may be read at once."""
LATER_DELIVERIES_MAX = 30
"""How many records may be read before a duplicate comes."""


class Rates(TypedDict, total=False):
    """How often each kind of fault strikes, as shares from 0 to 1: of duplicates a tenth, else 0.02, unless given.

    Attributes:
        crash: Of records: the process that reads one dies, at any point up to and behind its commit, and starts again.
        abort: Of records: nothing of the commit happens that one is in, and the same records come again.
        lose: Of records: the commit that one is in happens, and the service is not told; its memory is restored.
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


class Plan:
    """The faults of one run. Whoever lets one strike says so by `strike`.

    Args:
        chance: What they follow from.
        rates: How often they strike.
        settings: Whether handlers' events may come twice, as without transactions, and how late may not be too late.

    Raises:
        ValueError: If a rate is no share.
        TypeError: If there is no such rate.
    """

    def __init__(self, chance: Chance, rates: Rates, settings: Settings) -> None:
        if unknown := sorted(rates.keys() - RATES.keys()):
            raise TypeError(f"there is no {', '.join(unknown)}; faults are {', '.join(RATES)}")
        self.rates: dict[str, Any] = {**RATES, **rates}
        for name, rate in self.rates.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"{name}={rate} is no share: it lies between 0 and 1")
        self._chance = chance
        self._copies = settings.delivery == "at_least_once"
        self._late_left = settings.remember_for / LATE_SHARE
        self.only: Collection[str] | None = None
        """The names of the only faults that may strike; None for whatever chance brings."""
        self.struck: dict[str, str] = {}
        """What has struck, by name, in words."""

    def strike(self, name: str, told: str) -> None:
        """Take note that a fault has struck."""
        self.struck[name] = told

    def death(self, places: Sequence[str]) -> tuple[str, Point] | None:
        """Return at which point a process dies that reads these records."""
        name = next((name for each in places if (name := self._draw("crash", each))), "")
        return (name, self._chance.choose(tuple(Point), name, "point")) if name else None

    def reached(self, name: str) -> Reached:
        """Return how far the commit came in which a process died."""
        return self._chance.choose((Reached.MEMORY, Reached.OUTPUTS), name, "reached")

    def trouble(self, places: Sequence[str]) -> tuple[str, Blow] | None:
        """Return what brokers do to the commit of these records."""
        for each in places:
            if name := self._draw("abort", each):
                return name, Blow(Trouble.ABORTED)
            if name := self._draw("lose", each):
                return name, Blow(Trouble.UNANSWERED, self._chance.choose(tuple(Reached), name, "reached"))
        return None

    def failure(self, step: str, attempt: int) -> tuple[str, bool] | None:
        """Return whether a handler raises, and whether it has run by then."""
        name = self._draw("fail", step, attempt)
        return (name, self._chance.choose((False, True), name, "after")) if name else None

    def copy(self, kind: str, record: Outgoing, *, outside: bool) -> tuple[str, int] | None:
        """Return how many deliveries later a record comes a second time."""
        name = self._draw("duplicate", kind, identity(record)) if outside or self._copies else ""
        return (name, self._chance.choose(range(LATER_DELIVERIES_MAX), name, "later")) if name else None

    def delay(self, service: str, record: Record) -> tuple[str, timedelta] | None:
        """Return for how long a service does not get what it would read next, and all of that topic."""
        name = self._draw("delay", service, record.topic, identity(record))
        if not name or name in self.struck:
            return None
        by = self._chance.choose(DELAYS, name, "by")
        if by > self._late_left:
            return None
        self._late_left -= by
        return name, by

    def batch_max(self, service: str, record: Record) -> int:
        """Return how many records a service reads at once, this one first."""
        return self._chance.choose(BATCHES, "batch", service, record.topic, identity(record))

    def _draw(self, kind: str, *place: object) -> str:
        """Return the name of the fault that is to strike here, or ""."""
        if not self.rates[kind] or len(self.struck) >= FAULTS_MAX:
            return ""
        name = " ".join((kind, *map(str, place)))
        if self.only is not None:
            return name if name in self.only else ""
        return name if self._chance.draw(name) < self.rates[kind] else ""


def identity(record: Record | Outgoing) -> str:
    """Return what tells a record from others of its topic: the same in every run that has it."""
    found = next((value for name, value in record.headers if name == "ce_id"), None)
    return (found if found is not None else record.key or b"").decode(errors="replace")
