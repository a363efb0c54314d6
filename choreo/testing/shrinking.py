"""Many simulations of one test, and the smallest that fails.

Running a function under one seed after another, and leaving faults and sagas out of a run that fails for as long as it
fails, live here; what one run is does not (`simulation`). The fixture `choreo_simulation` calls it.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any

from choreo.clock import Clock, ManualClock
from choreo.service import Service
from choreo.testing.simulation import SEEDS, InvariantBroken, Simulation

RUNS = 100
"""Runs, unless another number is given."""
SMALLER_RUNS_MAX = 200
"""Runs that are spent on making one smaller that fails."""
SAGA = "saga "
"""Begins the name of a saga, as a part of a run."""
ORDER = "order"
"""The name of the order of delivery, as a part of a run."""
Run = Callable[[Simulation], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What many runs came to, none of which failed.

    Attributes:
        seed: That of the first run; each has the next one.
        runs: How many there were.
        sagas: How many sagas they had.
        faults: How many faults struck, by kind.
    """

    seed: int
    runs: int
    sagas: int
    faults: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """Return the report in one line."""
        faults = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.faults.items())) or "none"
        return f"{self.runs:,} runs from seed {self.seed}: {self.sagas:,} sagas; faults: {faults}"


def simulate(
    run: Run,
    *services: Service,
    runs: int = RUNS,
    seed: int | None = None,
    **options: Any,  # Those of `Simulation`, faults among them.
) -> Report:
    """Run a function under many seeds, and judge every saga of every run.

    Of a run that fails, faults and sagas are left out one after another, for as long as it fails in the same way; what
    is raised tells the smallest, and how it came to that.

    Args:
        run: Publishes what is to be published, into the simulation that it is given; may assert what it likes.
        services: What takes part.
        runs: How many seeds.
        seed: The first of them; drawn unless given. `runs=1` repeats one run exactly.
        options: Those of `Simulation`: `crash=0.1`, `settings=…` and the like.

    Raises:
        InvariantBroken: If a saga is not as it must be.
        Exception: What else the function, or a step that parked, raised.
    """
    first = seed if seed is not None else SystemRandom().randrange(SEEDS)
    sagas, faults = 0, Counter[str]()
    for number in range(first, first + runs):
        seeded = _SeededRun(run, services, number, options)
        error = seeded.fails(None)
        if error is not None:
            raise _smallest(seeded, error)
        sagas += seeded.sagas
        faults.update(name.partition(" ")[0] for name in seeded.struck)
    return Report(seed=first, runs=runs, sagas=sagas, faults=faults)


class _SeededRun:
    """A function under one seed, run as often as is asked for."""

    def __init__(self, run: Run, services: Sequence[Service], seed: int, options: Mapping[str, Any]) -> None:
        self._run = run
        self._services = services
        self._seed = seed
        self._options = options
        clock: Clock = options.get("clock") or ManualClock()
        # Every run begins at the same time, and moves a clock of its own.
        self._begins = clock.now()
        self.sagas = 0
        """How many sagas the whole run had."""
        self.struck: dict[str, str] = {}
        """What struck in the last run, by name, in words."""

    @property
    def parts(self) -> list[str]:
        """Return what may be left out of the last run: sagas, the order of delivery and faults."""
        order = [ORDER] if self._options.get("reorder", True) else []
        return [*(f"{SAGA}{number}" for number in range(self.sagas)), *order, *self.struck]

    def fails(self, parts: Collection[str] | None) -> Exception | None:
        """Return what a run raises that has nothing but these parts, or all of them; None where it does not."""
        options = {**self._options, "clock": ManualClock(self._begins)}
        if parts is not None and ORDER not in parts:
            options["reorder"] = False
        simulation = Simulation(*self._services, seed=self._seed, **options)
        if parts is not None:
            simulation.narrow(parts, muted=[each for each in range(self.sagas) if f"{SAGA}{each}" not in parts])
        error: Exception | None = None
        try:
            with simulation:
                self._run(simulation)
        except Exception as raised:  # noqa: BLE001 - whatever it is, the caller raises it.
            error = raised
        if parts is None:
            self.sagas = simulation.sagas
        self.struck = simulation.faults
        return error


def _smallest(seeded: _SeededRun, error: Exception) -> Exception:
    """Return what the smallest run raises that fails in the same way, with a note that says what is left of it."""
    whole = seeded.parts
    spent, best, struck = 0, error, seeded.struck

    def fails(parts: Sequence[str]) -> bool:
        nonlocal spent, best, struck
        if spent == SMALLER_RUNS_MAX:
            return False
        spent += 1
        raised = seeded.fails(frozenset(parts))
        if raised is None or not _alike(raised, error):
            return False
        best, struck = raised, seeded.struck
        return True

    left = fewest(whole, fails)
    sagas, of = (sum(each.startswith(SAGA) for each in parts) for parts in (left, whole))
    faults = sum(each != ORDER and not each.startswith(SAGA) for each in whole)
    lines = [
        f"Made smaller by {spent} runs: {sagas} of {of} sagas and {len(struck)} of {faults} faults are left,",
        f"and records come {'in the order that the seed stands for' if ORDER in left else 'oldest first'}.",
        *(f"  {words}" for words in struck.values()),
    ]
    best.add_note("\n".join(lines))
    return best


def _alike(one: Exception, other: Exception) -> bool:
    """Whether two runs fail in the same way."""
    if isinstance(one, InvariantBroken) and isinstance(other, InvariantBroken):
        return one.breaches[0].invariant == other.breaches[0].invariant
    return type(one) is type(other)


def fewest(items: Sequence[str], fails: Callable[[Sequence[str]], bool]) -> Sequence[str]:
    """Return a part of these that fails still, and would not without any one of them, if there was time to try all."""
    size = len(items)
    while size:
        begin = 0
        while begin < len(items):
            rest = [*items[:begin], *items[begin + size :]]
            if fails(rest):
                items = rest
            else:
                begin += size
        size //= 2
    return items
