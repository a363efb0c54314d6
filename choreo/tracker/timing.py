"""Deadlines that have not come to an end.

Which deadlines of a saga are set, and until when, is worked out here, by the rules that services go by (SEMANTICS 23
and 24); one that fired is a step like any other. What the time is, is asked by whoever reads. Pure: no clock.
"""

from collections.abc import Sequence
from typing import NamedTuple

from choreo.scope import reaches
from choreo.tracker.graph import NOTHING, Graph, Node
from choreo.tracker.seen import Seen
from choreo.tracker.step import Steps

_LAST_US = 253_370_764_800_000_000  # The year 9999; later than that nothing is due.


class Deadline(NamedTuple):
    """A deadline that is set, as far as the records tell.

    Attributes:
        node: The handler that will be called.
        trigger: The event that it counts from.
        due_us: When, in microseconds since 1970; None where the trigger says how long, which a manifest does not.
    """

    node: Node
    trigger: Seen
    due_us: int | None

    def past(self, now_us: int) -> bool:
        """Return whether it should have fired."""
        return self.due_us is not None and now_us > self.due_us


def running(graph: Graph, events: Sequence[Seen], steps: Steps) -> list[Deadline]:
    """Return the deadlines that neither fired nor were called off, of a saga that has not ended."""
    found: list[Deadline] = []
    for node in graph.deadlines:
        types = NOTHING.union(*node.waits_for)
        triggers = [each for each in events if each.type in types]
        if not triggers or (not node.after_abort and _aborted(graph, node, events)):
            continue
        awaited = [each for each in events if each.type in node.awaits]
        for trigger in triggers:
            fired = (node.service, node.name, trigger.branch, trigger.event_id) in steps
            if not fired and not any(reaches(each, trigger.branch, graph.failures) for each in awaited):
                due_us = None if node.within_us is None else trigger.at_us + node.within_us
                found.append(Deadline(node, trigger, due_us if due_us is not None and due_us < _LAST_US else None))
    return found


def _aborted(graph: Graph, node: Node, events: Sequence[Seen]) -> bool:
    """Whether a failure came that the deadline's service sees: what it does not read calls nothing off."""
    sees = graph.sees.get(node.service, set())
    return any(each.type in graph.failures and each.type in sees for each in events)
