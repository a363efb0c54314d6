"""What may follow what, in one saga type.

Which steps a saga of this type can take, and what must have come before an event, is worked out here from manifests
alone. What excludes an event is not (`exclusion`), nor what it leads to (`consequences`) or in which branches it stands
(`branch_paths`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import and_, or_

from choreo.checks.bitsets import BitSets
from choreo.choreography import NOTHING, Choreography, Names, Node, SagaType


@dataclass(frozen=True, eq=False)
class SagaFlow:
    """One saga type's way through all services."""

    graph: Choreography
    saga: SagaType
    granted: Names = NOTHING  # Events that nobody here brings, and that are taken to come all the same.

    @property
    def place(self) -> str:
        """Return where its owner is."""
        return self.graph.place(self.saga.owner)

    @property
    def completes(self) -> Names:
        """Return the events that complete it."""
        return self.saga.completes

    @property
    def fails(self) -> Names:
        """Return the events that end it as failed."""
        return self.saga.fails

    @cached_property
    def outside(self) -> Names:
        """Return what comes from outside: published into running sagas, or by a service that is not here."""
        return self.graph.published_into(self.saga.name) | self.granted

    @cached_property
    def steps(self) -> tuple[Node, ...]:
        """Return every step that a saga of this type may take, the nearest to its start first."""
        return tuple(self.reached().values())

    def reached(self, without: Names = NOTHING, apart: Names = NOTHING) -> dict[str, Node]:
        """Return the steps that may be taken where some events never come, or never in the branch asked about."""
        return self.graph.reached({self.saga.starts, *self.outside}, without, apart)

    @cached_property
    def events(self) -> Names:
        """Return every event that it may have."""
        return frozenset({self.saga.starts, *self.outside}).union(*(step.handler.emits for step in self.steps))

    @cached_property
    def failures(self) -> Names:
        """Return the failures among its events, without the one that ends it."""
        return (self.events & self.graph.failing) - self.fails

    @cached_property
    def first_failures(self) -> Names:
        """Return the failures that may come before any other; the rest only follow one of these."""
        return self.failures & self.outside.union(*(step.handler.emits for step in self._unfailing))

    @property
    def completable(self) -> bool:
        """Return whether a saga may complete: after a failure its owner lets it complete no more."""
        steps = (step for step in self._unfailing if step.kind != "compensation")
        return any(name in self.completes for step in steps for name in step.handler.emits)

    @cached_property
    def _unfailing(self) -> Sequence[Node]:
        return list(self.reached(without=self.failures).values())

    @cached_property
    def marks(self) -> BitSets:
        """Return the numbering of its events, that `before` is written in."""
        return BitSets(sorted(self.events))

    @cached_property
    def before(self) -> Mapping[str, int]:
        """Return for each event, as a mark, what has come before it whichever way the saga has gone."""
        start = self.marks.of([self.saga.starts])
        found = dict.fromkeys(self.events, self.marks.all) | dict.fromkeys(self.outside, start) | {self.saga.starts: 0}
        # In the order they are reached, so that a graph without cycles takes two rounds.
        emitted = dict.fromkeys(name for step in self.steps for name in step.handler.emits)
        changed = True
        while changed:
            changed = False
            for name in emitted:
                if name == self.saga.starts or name in self.outside:
                    continue
                past = reduce(and_, (self._needed(step, found) for step in self.producers(name)))
                changed = changed or past != found[name]
                found[name] = past
        return found

    def past(self, *events: str) -> Names:
        """Return what has come for certain once these have come, themselves included."""
        return self.marks.names(reduce(or_, (self.through[each] for each in events), 0))

    @cached_property
    def through(self) -> Mapping[str, int]:
        """Return for each event, as a mark, what has come for certain once it has, itself included."""
        return {name: before | self._together[name] for name, before in self.before.items()}

    @cached_property
    def _together(self) -> Mapping[str, int]:
        """Return for each event, as a mark, what is always emitted with it: one commit has them all."""
        found: dict[str, int] = {}
        for step in self.steps:
            for outcome in step.handler.outcomes:
                at_once = [each.types[0] for each in outcome if len(each.types) == 1 and not each.later]
                mark = self.marks.of(at_once)
                for name in (name for each in outcome for name in each.types):
                    found[name] = found.get(name, mark) & mark
        alone = dict.fromkeys({self.saga.starts, *self.outside}, 0)
        found |= alone
        return {name: found.get(name, 0) | self.marks.of([name]) for name in self.events}

    def follows(self, event: str, others: Iterable[str]) -> bool:
        """Return whether one of others has come for certain before an event."""
        return bool(self.before[event] & self.marks.of(others))

    @cached_property
    def perhaps(self) -> Mapping[str, int]:
        """Return for each event, as a mark, all that may have had a part in its coming, itself included."""
        causes: dict[str, set[str]] = {}
        for step in self.steps:
            for name in step.handler.emits:
                causes.setdefault(name, set()).update(step.takes)
        found = self.marks.closure(causes)
        return {name: found.get(name, 0) | self.marks.of([name]) for name in self.events}

    def producers(self, event: str) -> Sequence[Node]:
        """Return the steps that may emit an event."""
        return self._producers.get(event, ())

    @cached_property
    def _producers(self) -> Mapping[str, list[Node]]:
        found: dict[str, list[Node]] = {}
        for step in self.steps:
            for name in dict.fromkeys(step.handler.emits):
                found.setdefault(name, []).append(step)
        return found

    def groups(self, step: Node) -> list[list[str]]:
        """Return for each event parameter of a step the types that this saga may have."""
        return [[name for name in types if name in self.events] for types in step.parameters]

    def undoing(self, step: Node) -> list[Node]:
        """Return the compensations of what a step emits."""
        return list({each.name: each for name in step.handler.emits for each in self._undoing.get(name, ())}.values())

    @cached_property
    def _undoing(self) -> Mapping[str, list[Node]]:
        found: dict[str, list[Node]] = {}
        for step in self.steps:
            for name in step.handler.original:
                found.setdefault(name, []).append(step)
        return found

    def _needed(self, step: Node, before: Mapping[str, int]) -> int:
        found = 0
        for types in step.needs:
            ways = [before[name] | self._together[name] for name in types if name in before]
            found |= reduce(and_, ways) if ways else 0
        return found
