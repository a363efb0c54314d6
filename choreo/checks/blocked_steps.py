"""What a saga that rests without an end waits for.

`consequences` finds where a saga rests; which of its steps would lead on, and why they do not run, lives here.
What is made of that does not (`waits`, `completion`).
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from choreo.checks.phrases import any_of
from choreo.checks.saga_analysis import SagaAnalysis
from choreo.choreography import Names, Node
from choreo.event import short


class BlockedStep(NamedTuple):
    """A step that waits in vain."""

    step: Node
    types: Sequence[str]  # What it waits for: any one of these; () where it has all it needs.
    why: str  # Why that may not come, as the rest of a sentence about it.
    skipped: Node | None = None  # The step that `unless` kept from bringing it, if one did.


@dataclass(frozen=True, eq=False)
class BlockedSteps:
    """What keeps one saga type's sagas from an end."""

    analysis: SagaAnalysis
    ends: Names  # The events that would be its end.

    def waits(self, come: AbstractSet[str]) -> Iterator[BlockedStep]:
        """Yield the steps that would lead on and do not, where a saga rests; the nearest to its end first.

        A step that waits for another one of them is left out; so are compensations, which need not run.
        """
        for step in self.leading.values():
            if not come.isdisjoint(step.handler.emits) or not self.analysis.places.running(step):
                continue
            undoes = step.kind == "compensation"
            wait = self._put_off(step, come) if undoes else self._wait(step, come)
            if wait is not None:
                yield wait

    @cached_property
    def leading(self) -> Mapping[str, Node]:
        """Return the steps that an end may follow from, the nearest to it first.

        Where it is the end of a failed saga, these are the ones that follow from failures.
        """
        flow, found = self.analysis.flow, dict[str, Node]()
        names = dict.fromkeys(sorted(self.ends))
        # What is found is looked at in turn: this grows while it is gone through.
        for name in (ahead := list(names)):
            for step in flow.producers(name):
                if step.name not in found:
                    found[step.name] = step
                    taken = sorted(step.takes.union(*step.parameters) - names.keys())
                    names |= dict.fromkeys(taken)
                    ahead += taken
        if self.ends <= flow.fails:
            return {name: step for name, step in found.items() if name in self._aborting}
        return found

    @cached_property
    def _aborting(self) -> set[str]:
        """Return the steps that only failures and what is undone for them lead to."""
        flow = self.analysis.flow
        found = {step.name for step in flow.steps if step.kind == "compensation"}
        names = list(flow.failures.union(*(step.handler.emits for step in flow.steps if step.name in found)))
        while names:
            for step in flow.graph.takers(names.pop()):
                if step.name not in found:
                    found.add(step.name)
                    names += step.handler.emits
        return found

    def _wait(self, step: Node, come: AbstractSet[str]) -> BlockedStep | None:
        """Return what a step waits for in vain, unless that has to wait itself."""
        handler = step.handler
        ready = True
        for place, types in enumerate(step.parameters):
            gathered = place == handler.gathers and self.analysis.consequences.complete(step, come)
            if gathered or (place != handler.gathers and come.isdisjoint(types)):
                ready = False
                makers = {each.name: each for name in types for each in self.analysis.flow.producers(name)}
                if all(self._settled(each, come) for each in makers.values() if each.name in self.leading):
                    return self._blocked_step(step, types, list(makers.values()), come)
        if ready and not come.isdisjoint(handler.unless):
            return BlockedStep(step, (), "", step)
        return self._put_off(step, come) if ready else None

    def _put_off(self, step: Node, come: AbstractSet[str]) -> BlockedStep | None:
        """Return that a step lets come later what a failure calls off."""
        late = [name for each in step.emissions if each.later for name in each.types]
        called_off = step.kind != "compensation" or not come.isdisjoint(step.causes)
        why = f"lets {any_of(late)} come later, and a failure calls that off"
        return BlockedStep(step, (), why) if late and called_off else None

    def _settled(self, step: Node, come: AbstractSet[str]) -> bool:
        """Return whether a step has come to something, though it may be nothing."""
        if step.kind == "compensation":
            return True
        guarded = step.guarded if step.kind == "otherwise" else step
        if guarded is None or not self.analysis.consequences.complete(guarded, come):
            return False
        return not guarded.handler.fan_in or not come.isdisjoint(guarded.handler.emits)

    def _blocked_step(
        self, step: Node, types: Sequence[str], makers: Sequence[Node], come: AbstractSet[str]
    ) -> BlockedStep:
        publishers = self.analysis.flow.graph.publishers
        outside = next((by or service for name in types for service, by in publishers(name).items()), "")
        if outside:
            return BlockedStep(step, types, f"which {outside} publishes, or not")
        gathered = step.handler.fan_in and types == step.parameters[step.handler.gathers or 0]
        whys = [self._why(each, types, come, gathered=gathered) for each in makers if each.kind != "otherwise"]
        whys += [f"and nobody emits {short(name)}" for name in types if not self.analysis.flow.producers(name)]
        skipped = next((each for each in makers if not come.isdisjoint(each.handler.unless)), None)
        return BlockedStep(step, types, ", ".join(whys), skipped)

    def _why(self, maker: Node, types: Sequence[str], come: AbstractSet[str], *, gathered: bool) -> str:
        """Return why a step does not emit what another one waits for."""
        handler = maker.handler
        if handler.kind == "compensation":
            return f"and {maker.name} has nothing to undo"
        first = sorted(come & frozenset(handler.unless)) or sorted(come & frozenset(handler.awaits))
        if first:
            return f"and {maker.name} does not run where {any_of(first)} came first"
        others = sorted(name for name in handler.emits if name not in types and (gathered or name in come))
        instead = f"{any_of(others)} instead" if others else "nothing"
        return f"and {maker.name} may return {instead}{' in one of the branches' if gathered else ''}"
