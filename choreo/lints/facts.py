"""What is known of one saga type: everything that several lints ask about, worked out once.

Putting the questions together lives here; the answers do not (`flow`, `places`, `exclusion`, `consequences` and what
they stand on), nor what is wrong (`undoing`, `ending` and their like).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from choreo.choreography import Step
from choreo.lints.circles import Circles
from choreo.lints.consequences import Consequences
from choreo.lints.coverage import Coverage
from choreo.lints.exclusion import Exclusion
from choreo.lints.flow import Flow
from choreo.lints.hearing import Hearing
from choreo.lints.outcomes import Outcomes
from choreo.lints.places import Places
from choreo.lints.repetition import Repetition


@dataclass(frozen=True, eq=False)
class Facts:
    """One saga type, as lints see it.

    Args:
        flow: The saga type.
    """

    flow: Flow

    @cached_property
    def opened(self) -> "Facts":
        """Return the same where everything comes that a service may bring that is not here.

        What is wrong then is wrong though services are missing.
        """
        absent = self.flow.graph.absent
        return Facts(Flow(self.flow.graph, self.flow.saga_type, granted=absent)) if absent else self

    @cached_property
    def places(self) -> Places:
        """Return where everything stands."""
        return Places(self.flow)

    @cached_property
    def deadlines(self) -> Sequence[Step]:
        """Return the deadlines among its steps."""
        return [step for step in self.flow.steps if step.handler.kind == "deadline"]

    @cached_property
    def circles(self) -> Circles:
        """Return which steps lead back to themselves."""
        return Circles(self.flow)

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
        hearing = Hearing(self.flow, self.places, Outcomes(self.flow, self._in_branch))
        return Consequences(self.flow, hearing, self.in_saga, self.in_branch, self.circles)

    @cached_property
    def coverage(self) -> Coverage:
        """Return what each failure leaves undone."""
        return Coverage(self.flow, self.places, self.in_saga, self.consequences)

    @cached_property
    def _in_branch(self) -> Repetition:
        return Repetition(self.flow, self.places, in_branch=True)
