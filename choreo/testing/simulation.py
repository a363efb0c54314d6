"""A scenario under faults, judged when it is over.

What a simulation adds to a scenario lives here: a plan of faults drawn from one seed, and the invariants asserted at
rest, with the history of the saga that breaks one. Which faults there are lives in `fault_plan`, and running many
simulations in `shrinking`.
"""

from collections.abc import Collection, Sequence
from random import SystemRandom
from types import TracebackType
from typing import Unpack

from choreo.clock import ManualClock
from choreo.invariants import Breach, judge
from choreo.records import MANIFESTS
from choreo.service import Service
from choreo.settings import Settings
from choreo.testing.fault_plan import FaultPlan, Rates, Seed
from choreo.testing.final_state import FinalState
from choreo.testing.history import History, HistoryEntry
from choreo.testing.scenario import Scenario
from choreo.tracker import Flag
from choreo.transport import Outgoing

SEEDS = 1 << 32
"""How many seeds are drawn from, where none is given."""
_OF_A_SAGA_AT_REST = frozenset({"I1", "I4"})
"""What is asked of no saga that waits for a person."""


class InvariantBroken(AssertionError):
    """A saga came to rest as no saga may.

    Args:
        breaches: What is wrong with it.
        saga: What people call it.
        story: What happened to it, in lines.
        seed: Repeats the run exactly.
    """

    def __init__(self, breaches: Sequence[Breach], saga: str, story: Sequence[str], seed: int) -> None:
        self.breaches = list(breaches)
        self.saga = saga
        self.story = list(story)
        self.seed = seed
        wrong = "\n".join(f"  {breach}" for breach in breaches)
        happened = "\n".join(story)
        super().__init__(f"{saga} is not as it must be\n{wrong}\n\nWhat happened:\n{happened}\n\n{_again(seed)}")


class Simulation(Scenario):
    """A scenario under faults; leaving the block settles and asserts I1 to I5 of every saga.

    Everything that a test does in a `Scenario` works here. Beside that, processes die, commits are aborted or their
    response is lost, handlers fail, events come twice and late, and in any order that Kafka may show: all of it drawn
    from one seed, so that the same seed makes the same run, byte for byte, whatever the machine. Faults are bounded
    (`FAULTS_MAX`), so that every saga can come to rest.

    Args:
        services: What takes part.
        park: Leave parked steps alone, and ask of a saga that has one no more than I2, I3 and I5.
        settings: As for `Scenario`.
        clock: As for `Scenario`.
        seed: What all follows from; unless given it is drawn, and named when something breaks.
        rates: How often each kind of fault strikes: see `Rates`.

    Raises:
        DeclarationError: If the services cannot run as declared, all mistakes at once.
        InvariantBroken: When the block is left, if a saga is not as it must be: says the seed and what happened.
    """

    def __init__(
        self,
        *services: Service,
        park: bool = False,
        settings: Settings | None = None,
        clock: ManualClock | None = None,
        seed: int | None = None,
        **rates: Unpack[Rates],
    ) -> None:
        drawn = seed if seed is not None else SystemRandom().randrange(SEEDS)
        given = settings if settings is not None else Settings.model_construct()
        plan = FaultPlan(Seed(drawn), rates, given)
        order = drawn if plan.rates["reorder"] else None
        super().__init__(*services, park=park, settings=given, clock=clock, seed=order)
        self.seed: int = drawn
        """What all of it follows from."""
        self._faults.plan = plan
        self._history = History(
            {name: {kind.__choreo_type__ for kind in each.consumes} for name, each in self._declared.items()}
        )
        self._sagas: dict[bytes | None, int] = {}
        self._muted: frozenset[int] = frozenset()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.check()
            elif isinstance(error, Exception):
                self._annotate(error)
        finally:
            super().__exit__(kind, error, trace)

    @property
    def faults(self) -> dict[str, str]:
        """What has struck so far: by name, in words."""
        return dict(self._faults.plan.struck)

    @property
    def sagas(self) -> int:
        """How many sagas were published into."""
        return len(self._sagas)

    @property
    def digest(self) -> str:
        """A digest of all committed records, every byte of them: that of an equal run is equal."""
        return self.broker.digest(*sorted(self.broker.describe().keys() - {MANIFESTS}))

    def narrow(self, only: Collection[str], muted: Collection[int]) -> None:
        """Leave faults and sagas out, before the first publish: what makes a run that fails smaller.

        Args:
            only: The only faults that may strike, by the names that `faults` has.
            muted: Sagas that are never begun, counted from 0 in the order in which they would be.
        """
        self._faults.plan.only = frozenset(only)
        self._muted = frozenset(muted)

    def check(self) -> None:
        """Settle, with nothing held back any more, and assert the invariants of every saga.

        Raises:
            InvariantBroken: If one of them is not as it must be.
            Exception: As `settle`.
        """
        self.release()
        try:
            self.settle()
        except Exception as error:
            self._annotate(error)
            raise
        final = FinalState(self._environment, self.delivery, self.tracker, self._store)
        for saga_id in final.sagas:
            evidence = final.evidence(saga_id)
            breaches = [*judge(self._compiled.catalog.choreography, evidence), *final.strays(saga_id)]
            view = evidence.view
            if view is not None and self._park and Flag.PARKED in view.flags:
                breaches = [each for each in breaches if each.invariant not in _OF_A_SAGA_AT_REST]
            if breaches:
                name = f"{view.saga_type} {view.business_key}".strip() if view is not None else "saga"
                raise InvariantBroken(breaches, f"{name} ({saga_id})", self._history.lines(saga_id), self.seed)

    def _write(self, outgoing: Outgoing) -> None:
        # A publisher that is opened anew announces its services anew, and begins no saga.
        if outgoing.topic == MANIFESTS or self._sagas.setdefault(outgoing.key, len(self._sagas)) not in self._muted:
            super()._write(outgoing)

    def _happened(self, entry: HistoryEntry) -> None:
        self._history.add(entry)
        super()._happened(entry)

    def _annotate(self, error: Exception) -> None:
        again = _again(self.seed)
        if not isinstance(error, InvariantBroken) and again not in getattr(error, "__notes__", ()):
            error.add_note(again)


def _again(seed: int) -> str:
    return f"Repeat it exactly: Simulation(…, seed={seed}), or pytest --choreo-seed {seed}"
