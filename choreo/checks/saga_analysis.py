"""What is known of one saga type: everything that several checks ask about, worked out once.

The answers are worked out elsewhere (`saga_flow`, `branch_paths`, `exclusion`, `consequences` and what they need), and
judged by the checks (`compensation_checks`, `completion`, `waits`, `cycles`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from choreo.checks.branch_paths import BranchPaths
from choreo.checks.consequences import Consequences
from choreo.checks.coverage import Coverage
from choreo.checks.cycles import Cycles
from choreo.checks.exclusion import Exclusion, Repetition
from choreo.checks.saga_flow import SagaFlow
from choreo.checks.step_outcomes import StepOutcomes
from choreo.checks.triggers import Triggers
from choreo.choreography import Node


@dataclass(frozen=True, eq=False)
class SagaAnalysis:
    """One saga type, as checks see it."""

    flow: SagaFlow

    @cached_property
    def opened(self) -> "SagaAnalysis":
        """Return the same where everything comes that a service may bring that is not here.

        What is wrong then is wrong though services are missing.
        """
        absent = self.flow.graph.absent
        return SagaAnalysis(SagaFlow(self.flow.graph, self.flow.saga, granted=absent)) if absent else self

    @cached_property
    def places(self) -> BranchPaths:
        """Return where everything stands."""
        return BranchPaths(self.flow)

    @cached_property
    def deadlines(self) -> Sequence[Node]:
        """Return the deadlines among its steps."""
        return [step for step in self.flow.steps if step.kind == "deadline"]

    @cached_property
    def cycles(self) -> Cycles:
        """Return which steps lead back to themselves."""
        return Cycles(self.flow)

    @cached_property
    def in_saga(self) -> Exclusion:
        """Return what is never in one saga."""
        return Exclusion(self.flow, Repetition(self.flow, self.places))

    @cached_property
    def in_branch(self) -> Exclusion:
        """Return what is never in one branch."""
        return Exclusion(self.flow, self._in_branch)

    @cached_property
    def consequences(self) -> Consequences:
        """Return what events lead to."""
        triggers = Triggers(self.flow, self.places, StepOutcomes(self.flow, self._in_branch))
        return Consequences(self.flow, triggers, self.in_saga, self.in_branch, self.cycles)

    @cached_property
    def coverage(self) -> Coverage:
        """Return what each failure leaves undone."""
        return Coverage(self.flow, self.places, self.in_saga, self.consequences)

    @cached_property
    def _in_branch(self) -> Repetition:
        return Repetition(self.flow, self.places, in_branch=True)
