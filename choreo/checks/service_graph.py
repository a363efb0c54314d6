"""The graph of all services, as checks ask about it.

What every saga type has in common lives here: which steps an event may make ready, what no service emits, and what may
follow at all. What may follow in one saga type does not (`saga_flow`).
"""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

from choreo.choreography import NOTHING, Choreography, Names, Node


@dataclass(frozen=True, eq=False)
class ServiceGraph:
    """All services together, as checks ask about them."""

    choreography: Choreography

    @cached_property
    def triggered(self) -> Mapping[str, Mapping[str, Node]]:
        """Return the steps that each event may make ready, or have undone, by name and in the choreography's order."""
        found: dict[str, dict[str, Node]] = {}
        for step in self.choreography.nodes:
            handler = step.handler
            groups = [handler.causes, handler.original] if handler.kind == "compensation" else step.parameters
            for types in groups:
                for name in types:
                    found.setdefault(name, {})[step.name] = step
        return found

    def triggered_by(self, event: str) -> Collection[Node]:
        """Return the steps that an event may make ready, or have undone."""
        return self.triggered.get(event, {}).values()

    @cached_property
    def brought(self) -> Names:
        """Return the events that are emitted, published or start a saga here."""
        emitted = (step.handler.emits for step in self.choreography.nodes)
        return frozenset(self._starts).union(*emitted) | self.published

    @cached_property
    def taken(self) -> Names:
        """Return the events that some handler reacts to, undoes or looks out for."""
        return self.read.union(*(step.handler.original for step in self.choreography.nodes))

    @cached_property
    def read(self) -> Names:
        """Return the events that some service reads for the sake of a handler."""
        return NOTHING.union(*(step.reads for step in self.choreography.nodes))

    @cached_property
    def missing(self) -> Names:
        """Return the events that handlers wait for and that come from no service here."""
        return NOTHING.union(*(self.wants(step) for step in self.choreography.nodes)) - self.brought

    @cached_property
    def absent(self) -> Names:
        """Return those of the missing events that a service may bring that is not here.

        An event whose topic a service here emits to, or that ends a saga owned here, is expected from no other service.
        """
        ends = (name for owned in self.choreography.sagas.values() for name in (*owned.completes, *owned.fails))
        topics = {self._topic(name) for name in self.brought}
        return frozenset(name for name in self.missing if self._topic(name) not in topics) - frozenset(ends)

    @cached_property
    def published(self) -> Names:
        """Return what comes from outside into running sagas."""
        known = self.choreography.events
        return frozenset(name for name in known if self.choreography.publishers(name))

    def outside(self, saga_type: str) -> Names:
        """Return what comes from outside into sagas of one type.

        A service publishes into sagas that it has a part in; one that has a part in none, into any.
        """
        here, anywhere = self._parts[saga_type], NOTHING.union(*self._parts.values())
        publishers = self.choreography.publishers
        return frozenset(
            name
            for name in self.published
            if not here.isdisjoint(publishers(name)) or anywhere.isdisjoint(publishers(name))
        )

    def failing(self, events: Iterable[str]) -> Names:
        """Return the failures among some events."""
        known = self.choreography.events
        return frozenset(name for name in events if name in known and known[name].failure)

    def wants(self, step: Node) -> Names:
        """Return every event that a step may be given, but for what it undoes."""
        own = step.handler
        return frozenset(own.causes).union(*step.parameters, *own.extras)

    def reached(self, come: AbstractSet[str], without: Names = NOTHING, apart: Names = NOTHING) -> dict[str, Node]:
        """Return the steps that may be taken once some events have come, the nearest first, by name.

        Args:
            come: What has come.
            without: What never comes.
            apart: What does not come in the branch that is asked about, so that it brings a fan-in nothing.
        """
        known, steps = set(come) - without, dict[str, Node]()
        level = sorted(known)
        while level:
            ready = dict[str, Node]()
            for name in level:
                ready.update(self.triggered.get(name, {}))
            level = []
            for name, step in ready.items():
                if name not in steps and self._may_run(step, known, apart):
                    steps[name] = step
                    level += [each for each in step.handler.emits if each not in known and each not in without]
            known.update(level)
        return steps

    def _may_run(self, step: Node, come: AbstractSet[str], apart: Names) -> bool:
        handler = step.handler
        if handler.kind == "compensation":
            undone = handler.original_optional or not come.isdisjoint(handler.original)
            return undone and not come.isdisjoint(handler.causes)
        waits_for = step.parameters
        if apart and handler.gathers is not None and come.isdisjoint(frozenset(waits_for[handler.gathers]) - apart):
            return False
        return bool(waits_for) and all(not come.isdisjoint(types) for types in waits_for)

    def _topic(self, event: str) -> str:
        """Return where an event travels, which only those announce who name it."""
        known = self.choreography.events.get(event)
        return known.topic if known is not None else ""

    @cached_property
    def _parts(self) -> Mapping[str, frozenset[str]]:
        """Return for each saga type the services that have a part in it, whatever comes from outside."""
        return {
            name: frozenset({owned.owner, *(step.service for step in self.reached({owned.starts}).values())})
            for name, owned in self.choreography.sagas.items()
        }

    @cached_property
    def _starts(self) -> list[str]:
        return [owned.starts for owned in self.choreography.sagas.values()]
