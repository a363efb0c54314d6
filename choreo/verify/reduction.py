"""Orders of events that lead to the same states, of which one is enough.

Where one service can move before all others without any difference to what they or it may come to, looking at its moves
alone is enough; when that is so is decided here (ample sets: Clarke, Grumberg, Peled, "Model Checking", chapter 10).
`model_checker` asks for every state. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence

from choreo.event import Event
from choreo.handler import Handler, Kind
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
        self._types: dict[str, int] = {}
        for actor in model.actors:
            for kind in actor.declaration.event_types:
                self._types.setdefault(kind.__choreo_type__, 1 << len(self._types))
        self._types[ENDS] = 1 << len(self._types)
        self._outside = [self._types[kind.__choreo_type__] for kind in model.outside]
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
        model, closed = self._model, self._closed[number]
        found = 0
        for place, (owner, _) in enumerate(model.slots):
            if owner != number and (queue := state.queues[place]):
                found |= self._of_queue(number, queue)
        for owner, memory in enumerate(state.memories):
            if owner != number:
                found |= self._of_memory(number, owner, memory)
        for place, bit in enumerate(self._outside):
            if state.outside >> place & 1:
                found |= bit | closed[model.outside[place].__choreo_type__]
        return found

    def _of_queue(self, number: int, queue: tuple[int, ...]) -> int:
        """Return what may be published because these are read."""
        found = self._by_queue.get((number, queue))
        if found is None:
            found = 0
            for item in queue:
                if item != END:
                    found |= self._closed[number][self._model.register.events[item].type]
            self._by_queue[number, queue] = found
        return found

    def _of_memory(self, number: int, owner: int, memory: int) -> int:
        """Return what a service may publish that nothing needs to come to it for: timers, and what waits in it."""
        known = self._by_memory.get((number, owner, memory))
        if known is not None:
            return known
        rules, decoded = self._model.actors[owner].rules, Memory.decode(self._model.register.memories[memory])
        found = 0
        for kind, name, *_ in decoded.timers:
            handlers = [rules.handlers[name]]
            if kind is TimerKind.RETRY and name in rules.otherwise:
                handlers.append(rules.otherwise[name])
            for handler in handlers:
                found |= self._emitted(handler, number)
        for recorded in decoded.held.values():
            found |= self._closed[number][recorded.type]
        self._by_memory[number, owner, memory] = found
        return found

    def _emitted(self, handler: Handler, number: int) -> int:
        found = 0
        for kind in handler.emits:
            found |= self._types[kind.__choreo_type__] | self._closed[number][kind.__choreo_type__]
        return found | self._types[ENDS]

    def _closures(self, number: int) -> Mapping[str, int]:
        """Return for each type what may be published because it came, as long as this service does not move."""
        follows: dict[str, set[str]] = {name: set() for name in self._types}
        for other, actor in enumerate(self._model.actors):
            if other == number:
                continue
            for handler in actor.declaration.handlers:
                emitted = {kind.__choreo_type__ for kind in handler.emits}
                if emitted & actor.rules.terminals:
                    emitted.add(ENDS)
                for kind in _taken(handler, actor.declaration.handlers):
                    follows[kind.__choreo_type__] |= emitted
        return {name: self._mask(_closure(name, follows)) for name in self._types}

    def _of(self, place: int) -> int:
        number, topic = self._model.slots[place]
        if topic == ENDS:
            return self._types[ENDS]
        consumed = self._model.actors[number].declaration.consumes
        return self._mask(kind.__choreo_type__ for kind in consumed if kind.__choreo_topic__ == topic)

    def _mask(self, names: Iterable[str]) -> int:
        found = 0
        for name in names:
            found |= self._types[name]
        return found


def _taken(handler: Handler, handlers: Sequence[Handler]) -> set[type[Event]]:
    """Return every type whose coming may have a handler run, sooner or later."""
    if handler.kind is Kind.OTHERWISE:
        guarded = next(each for each in handlers if each.name == handler.guards)
        return _taken(guarded, handlers)
    taken = set(handler.causes) | set(handler.original)
    for types in (*handler.waits_for, *handler.extras):
        taken |= types
    if handler.kind is Kind.COMPENSATION and handler.original_optional:
        for each in handlers:
            if each.kind is Kind.FORWARD and not handler.original.isdisjoint(each.emits):
                taken |= _taken(each, handlers)
    return taken


def _closure(name: str, follows: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    level = follows[name]
    while level:
        found |= level
        level = {each for one in level for each in follows[one]} - found
    return found
