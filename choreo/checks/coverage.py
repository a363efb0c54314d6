"""What each failure leaves undone, in one saga type.

Following failures to what undoes things lives here; telling of it does not (`compensation_checks`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from choreo.checks.branch_paths import BranchPaths
from choreo.checks.consequences import Consequences
from choreo.checks.exclusion import Exclusion
from choreo.checks.saga_flow import SagaFlow
from choreo.choreography import NOTHING, Names, Node


@dataclass(frozen=True, eq=False)
class Coverage:
    """How far failures are followed by the undoing of what has been done."""

    flow: SagaFlow
    places: BranchPaths
    exclusion: Exclusion
    consequences: Consequences

    @cached_property
    def undoers(self) -> Mapping[str, Sequence[Node]]:
        """Return the compensations of each event that has any, the last event that a saga comes to first."""
        found: dict[str, Sequence[Node]] = {}
        for step in reversed(self.flow.steps):
            for name in sorted(step.handler.emits):
                compensations = [each for each in self.flow.undoing(step) if name in each.handler.original]
                if compensations:
                    found[name] = compensations
        return found

    @property
    def left(self) -> Mapping[str, Sequence[str]]:
        """Return for each event the failures after which nothing may undo it.

        What undoes a later event is taken to run, so that one mistake is not reported once for each event before it.
        """
        return self._followed[0]

    @property
    def unended(self) -> Mapping[str, Names]:
        """Return the failures that do not always lead to a failing end, and what has come where a saga rests then."""
        return self._followed[1]

    @cached_property
    def _followed(self) -> tuple[Mapping[str, Sequence[str]], Mapping[str, Names]]:
        left: dict[str, list[str]] = {}
        unended: dict[str, Names] = {}
        for failure in sorted(self.flow.first_failures):
            certain = self.consequences.certain(failure)
            doubtful = [name for name, causes in self._causes.items() if self._doubtful(name, causes, failure, certain)]
            ending = not self.flow.fails or not certain.isdisjoint(self.flow.fails)
            if ending and not doubtful:
                continue
            ends = self.consequences.ends(failure)
            for original in doubtful:
                if not self._covered(original, failure, ends):
                    left.setdefault(original, []).append(failure)
            rests = self.consequences.rests(self.flow.fails, failure) if ends is None and not ending else ends or ()
            rest = None if ending else next((end for end in rests if end.isdisjoint(self.flow.fails)), None)
            if rest is not None:
                unended[failure] = rest
        return left, unended

    def _doubtful(self, original: str, causes: Names, failure: str, certain: Names) -> bool:
        """Return whether more has to be looked at to know that a failure has something undone."""
        return certain.isdisjoint(causes) and not self.exclusion.plain(original, failure)

    def _covered(self, original: str, failure: str, ends: Sequence[Names] | None) -> bool:
        """Return whether a failure has something undone whichever way the saga goes, or never meets it."""
        causes = self._causes[original]
        met = [end for end in ends or () if original in end]
        if met and all(not end.isdisjoint(causes) for end in met):
            return True
        later = list(self.undoers)
        behind = (self.undoers[name] for name in later[: later.index(original)])
        undone = frozenset(undoers[0].name for undoers in behind if len(undoers) == 1)
        return self.consequences.reach(causes, original, failure, undone=undone) or self.exclusion.of(original, failure)

    @cached_property
    def _causes(self) -> Mapping[str, Names]:
        """Return what sets the undoing of each event going."""
        return {name: NOTHING.union(*(each.causes for each in undoers)) for name, undoers in self.undoers.items()}

    def overtaken(self, compensation: Node) -> bool:
        """Return whether a cause may come before what is undone for it, so that there is nothing to undo."""
        causes = self.flow.events & compensation.causes
        return not all(self._follows(cause, compensation.handler.original) for cause in causes)

    def _follows(self, cause: str, originals: Sequence[str]) -> bool:
        """Return whether a cause comes only once what is undone for it has come, in every branch."""
        inner = min((len(place) for name in originals for place in self.places.of(name)), default=0)
        # Outside of a branch it has come of all branches, unless for one of them that has failed.
        alone = any(len(place) >= inner for place in self.places.of(cause))
        of_one = inner > 0 and (alone or self.flow.follows(cause, self.flow.failures))
        return not of_one and bool(self.flow.through[cause] & self.flow.marks.of(originals))

    @cached_property
    def unsure(self) -> Names:
        """Return the events of compensations that do not run where a cause came first."""
        steps = {step.name: step for undoers in self.undoers.values() for step in undoers}.values()
        silent = [step for step in steps if not step.handler.original_optional and self.overtaken(step)]
        return NOTHING.union(*(step.handler.emits for step in silent))
