"""What is known of one saga type: everything that several checks ask about, worked out once.

The answers are worked out elsewhere (`saga_flow`, `branch_paths`, `exclusion`, `consequences` and what they need), and
judged by the checks (`compensation_checks`, `completion`, `waits`, `cycles`).
"""

from functools import cached_property

from choreo.checks.branch_paths import BranchPaths
from choreo.checks.consequences import Consequences
from choreo.checks.coverage import Coverage
from choreo.checks.cycles import Cycles
from choreo.checks.exclusion import Exclusion, Repetition
from choreo.checks.saga_flow import SagaFlow
from choreo.checks.step_outcomes import StepOutcomes
from choreo.checks.triggers import Triggers


class SagaAnalysis:
    """One saga type, as checks see it; each answer is worked out when it is first asked for."""

    def __init__(self, flow: SagaFlow) -> None:
        self.flow = flow
        self.places = BranchPaths(flow)
        self.cycles = Cycles(flow)
        in_branch = Repetition(flow, self.places, in_branch=True)
        self.in_saga = Exclusion(flow, Repetition(flow, self.places))
        self.in_branch = Exclusion(flow, in_branch)
        triggers = Triggers(flow, self.places, StepOutcomes(flow, in_branch))
        self.consequences = Consequences(flow, triggers, self.in_saga, self.in_branch, self.cycles)
        self.coverage = Coverage(flow, self.places, self.in_saga, self.consequences)

    @cached_property
    def opened(self) -> "SagaAnalysis":
        """Return the same where everything comes that a service may bring that is not here.

        What is wrong then is wrong though services are missing.
        """
        absent = self.flow.graph.absent
        return SagaAnalysis(SagaFlow(self.flow.graph, self.flow.saga, granted=absent)) if absent else self
