"""Orders of events that lead to the same states, of which one is enough.

Where one service can move before all others without any difference to what they or it may come to, looking at its moves
alone is enough; when that is so is decided here (ample sets: Clarke, Grumberg, Peled, "Model Checking", chapter 10).
`model_checker` asks for every state. Pure.
"""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_

from choreo.checks.bitsets import BitSets
from choreo.choreography import Names, Node
from choreo.memory import Memory, TimerKind
from choreo.records import ENDS
from choreo.verify.model_state import AGAIN, END, Action, ModelState
from choreo.verify.saga_model import SagaModel, Ways


class Reduction:
    """The orders of one model that count as one.

    A service's moves are independent of what the others do meanwhile if nothing can come into a queue of its that is
    empty now, and nothing it publishes is put into a queue into which others may put something, too. Every run has a
    first move of that service, which therefore may as well be the first of all.
    """

    def __init__(self, model: SagaModel) -> None:
        self._model = model
        types = (kind.__choreo_type__ for actor in model.actors for kind in actor.declaration.event_types)
        self._types = BitSets(dict.fromkeys([*types, ENDS]))
        everyone = range(len(model.actors))
        self._closed = [self._closures(number) for number in everyone]
        self._put_into = [self._of(place) for place in range(len(model.slots))]
        self._slots = [
            [place for place, (owner, topic) in enumerate(model.slots) if owner == number and topic != AGAIN]
            for number in everyone
        ]
        self._by_queue: dict[tuple[int, tuple[int, ...]], int] = {}
        self._by_memory: dict[tuple[int, int, int], int] = {}

    def ways(self, state: ModelState) -> Ways:
        """Return the ways on from a state that are enough: those of one service, or all."""
        model = self._model
        found: dict[int, Ways] = {}
        for number in range(len(model.actors)):
            if not self._moves(state, number):
                continue
            come = self._may_come(state, number)
            if any(come & self._put_into[place] for place in self._slots[number] if not state.queues[place]):
                continue
            found[number] = own = list(model.ways_of(number, state))
            places = {place for action, _ in own for place in self._places(action)}
            if own and not any(come & self._put_into[place] for place in places):
                return own
        everyone = range(len(model.actors))
        own = [way for number in everyone for way in found.get(number) or model.ways_of(number, state)]
        return own + list(model.published(state))

    def _moves(self, state: ModelState, number: int) -> bool:
        queues = state.queues
        return any(queues[place] for place in self._model.slots_of[number]) or bool(
            self._model.timers(number, state.memories[number])
        )

    def _places(self, action: Action) -> Iterable[int]:
        if action.move is None or action.crash:
            return
        for event in action.move.events:
            yield from self._model.readers(event.type)
        if action.move.ended:
            yield from self._model.readers(ENDS)

    def _may_come(self, state: ModelState, number: int) -> int:
        """Return every type that may be published before this service moves."""
        model, found = self._model, 0
        for place, (owner, _) in enumerate(model.slots):
            if owner != number and (queue := state.queues[place]):
                found |= self._of_queue(number, queue)
        for owner, memory in enumerate(state.memories):
            if owner != number:
                found |= self._of_memory(number, owner, memory)
        outside = [kind.__choreo_type__ for place, kind in enumerate(model.outside) if state.outside >> place & 1]
        return found | self._types.of(outside) | self._led_to(number, outside)

    def _of_queue(self, number: int, queue: tuple[int, ...]) -> int:
        """Return what may be published because these are read."""
        found = self._by_queue.get((number, queue))
        if found is None:
            events = self._model.register.events
            found = self._led_to(number, {events[item].type for item in queue if item != END})
            self._by_queue[number, queue] = found
        return found

    def _of_memory(self, number: int, owner: int, memory: int) -> int:
        """Return what a service may publish that nothing needs to come to it for: timers, and what waits in it."""
        found = self._by_memory.get((number, owner, memory))
        if found is None:
            rules, decoded = self._model.actors[owner].rules, Memory.decode(self._model.register.memories[memory])
            handlers = [rules.handlers[name] for _, name, *_ in decoded.timers]
            retried = (name for kind, name, *_ in decoded.timers if kind is TimerKind.RETRY)
            handlers += [rules.otherwise[name] for name in retried if name in rules.otherwise]
            emitted = {kind.__choreo_type__ for handler in handlers for kind in handler.emits}
            found = self._types.of([*emitted, *([ENDS] if handlers else [])])
            found |= self._led_to(number, emitted.union(each.type for each in decoded.held.values()))
            self._by_memory[number, owner, memory] = found
        return found

    def _led_to(self, number: int, names: Iterable[str]) -> int:
        """Return what may be published because these have come, as long as this service does not move."""
        return reduce(or_, (self._closed[number].get(name, 0) for name in names), 0)

    def _closures(self, number: int) -> Mapping[str, int]:
        follows: dict[str, set[str]] = {}
        nodes = self._model.choreography.nodes
        for other, actor in enumerate(self._model.actors):
            for node in nodes if other != number else ():
                if node.service == actor.name:
                    emitted = node.emits.union([] if node.emits.isdisjoint(actor.rules.terminals) else [ENDS])
                    for name in _taken(node, nodes):
                        follows.setdefault(name, set()).update(emitted)
        return self._types.closure(follows)

    def _of(self, place: int) -> int:
        number, topic = self._model.slots[place]
        consumed = self._model.actors[number].declaration.consumes
        names = [kind.__choreo_type__ for kind in consumed if kind.__choreo_topic__ == topic]
        return self._types.of([ENDS] if topic == ENDS else names)


def _taken(node: Node, nodes: Iterable[Node]) -> Names:
    """Return every type whose coming may have a handler run, sooner or later."""
    taken = node.wants | node.original
    if node.handler.original_optional:
        undone = (each for each in nodes if each.kind == "forward" and each.service == node.service)
        taken = taken.union(*(each.wants for each in undone if not node.original.isdisjoint(each.emits)))
    return taken
