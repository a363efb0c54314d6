"""All services together, and what lies between them.

Every way on from a state of the model that Kafka allows lives here: per topic in order, across topics in any order,
what comes twice, a crash before a commit, timers, and what people publish from outside. What one service makes of it is
the real code's business (`actor`); in which order states are looked at is `model_checker`'s.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from choreo.choreography import Choreography
from choreo.clock import ManualClock
from choreo.event import Envelope, Event, emitted_id, saga_id_for, start_event_id
from choreo.manifest import Manifest
from choreo.memory import Memory, TimerKey
from choreo.records import ENDS
from choreo.saga import Saga
from choreo.service import Declaration
from choreo.verify.actor import Actor, Move
from choreo.verify.model_codec import example
from choreo.verify.model_state import AGAIN, END, OUTSIDE, Action, Bounds, ModelState, NumberedMove, Queues, Register

T = TypeVar("T")
Ways = list[tuple[Action, ModelState]]
"""What may happen next, and where that leads."""


class SagaModel:
    """The model of one saga."""

    def __init__(self, declarations: Sequence[Declaration], saga: Saga, bounds: Bounds) -> None:
        self.saga = saga
        self.bounds = bounds
        self.actors = [Actor(each, branches=bounds.branches) for each in declarations]
        self.choreography = Choreography(Manifest.outline(each.declaration) for each in self.actors)
        self.saga_id = saga_id_for(saga.name, "1")
        self.register = Register()
        self._moves: dict[tuple[int, int, int | TimerKey], list[NumberedMove]] = {}
        self._timers: dict[tuple[int, int], list[TimerKey]] = {}
        self.slots = self._slots()
        self.slots_of = [
            tuple(place for place, (owner, _) in enumerate(self.slots) if owner == number)
            for number in range(len(self.actors))
        ]
        self._slot_of = {slot: place for place, slot in enumerate(self.slots)}
        self._readers = self._index()
        self.outside = sorted(
            {kind for each in declarations for kind in each.publishes}, key=lambda kind: kind.__choreo_type__
        )

    @property
    def first(self) -> ModelState:
        """Return the state in which the saga has just been started."""
        nothing = self.register.memory(Memory().encode())
        start = self.register.event(self._from_outside(self.saga.starts, start_event_id(self.saga_id)))
        empty = ModelState(
            (nothing,) * len(self.actors),
            ((),) * len(self.slots),
            1 << start,
            0,
            0,
            0,
            0,
            0,
            (1 << len(self.outside)) - 1,
        )
        return empty._replace(queues=self._appended(empty.queues, (start,), ended=False))

    def ways(self, state: ModelState) -> Ways:
        """Return every way on from a state, with the state that it leads to."""
        own = [way for number in range(len(self.actors)) for way in self.ways_of(number, state)]
        return own + list(self.published(state))

    def ways_of(self, number: int, state: ModelState) -> Iterator[tuple[Action, ModelState]]:
        """Yield what one service may do next."""
        for place in self.slots_of[number]:
            again = self.slots[place][1] == AGAIN
            for item in dict.fromkeys(state.queues[place] if again else state.queues[place][:1]):
                yield from self._read(state, place, item, again=again)
        memory = state.memories[number]
        for key in self.timers(number, memory):
            for known in self._known(number, memory, key):
                yield from self._done(state, state.queues, number, key, known)

    def readers(self, name: str) -> tuple[int, ...]:
        """Return the queues that an event type, or the saga's end, is put into."""
        return self._readers.get(name, ())

    def timers(self, number: int, memory: int) -> list[TimerKey]:
        """Return the timers of a service that may be the next one due."""
        found = self._timers.get((number, memory))
        if found is None:
            found = self._timers[number, memory] = self.actors[number].timers(self.register.memories[memory])
        return found

    def matters(self, state: ModelState, action: Action) -> bool:
        """Return whether a service reacts to an event from outside that came just now."""
        assert isinstance(action.item, int)
        return any(
            known.move.attempts
            for place in self.readers(self.register.events[action.item].type)
            for known in self._known(self.slots[place][0], state.memories[self.slots[place][0]], action.item)
        )

    def committed_twice(self, before: ModelState, move: Move) -> Envelope | None:
        """Return an event that a move publishes and that has been published already."""
        return next((each for each in move.events if before.history >> self.register.event(each) & 1), None)

    def history(self, state: ModelState) -> list[Envelope]:
        """Return the events that were committed."""
        return [each for number, each in enumerate(self.register.events) if state.history >> number & 1]

    def remembered(self, state: ModelState) -> dict[str, Memory]:
        """Return what each service remembers."""
        return {
            actor.name: Memory.decode(self.register.memories[memory])
            for actor, memory in zip(self.actors, state.memories, strict=True)
        }

    def _slots(self) -> list[tuple[int, str]]:
        slots: list[tuple[int, str]] = []
        for number, actor in enumerate(self.actors):
            topics = {kind.__choreo_topic__ for kind in actor.declaration.consumes}
            ends = [ENDS] if actor.heeds_ends else []
            slots += [(number, topic) for topic in (*sorted(topics), *ends, AGAIN)]
        return slots

    def _index(self) -> dict[str, tuple[int, ...]]:
        """Return for each event type, and for ends, the queues that it is put into."""
        found: dict[str, list[int]] = {}
        for place, (number, topic) in enumerate(self.slots):
            reactions = self.actors[number].rules.reactions
            for kind in self.actors[number].declaration.consumes:
                if kind.__choreo_topic__ == topic and kind.__choreo_type__ in reactions:
                    found.setdefault(kind.__choreo_type__, []).append(place)
            if topic == ENDS:
                found.setdefault(ENDS, []).append(place)
        return {name: tuple(places) for name, places in found.items()}

    def _read(self, state: ModelState, place: int, item: int, *, again: bool) -> Iterator[tuple[Action, ModelState]]:
        number = self.slots[place][0]
        left = list(state.queues[place])
        left.remove(item)
        queues = _replaced(state.queues, place, tuple(left))
        second = self._slot_of[number, AGAIN]
        twice = _replaced(queues, second, (*queues[second], item))
        repeatable = not again and item != END and state.duplicates < self.bounds.duplicates
        for known in self._known(number, state.memories[number], item):
            for action, after in self._done(state, queues, number, item, known):
                yield action._replace(again=again), after
            for action, after in self._done(state, twice, number, item, known, crashing=False) if repeatable else ():
                yield action._replace(twice=True), after._replace(duplicates=state.duplicates + 1)

    def _done(
        self,
        state: ModelState,
        queues: Queues,
        number: int,
        item: int | TimerKey,
        known: NumberedMove,
        *,
        crashing: bool = True,
    ) -> Iterator[tuple[Action, ModelState]]:
        failures = state.failures + known.move.failures
        if failures > self.bounds.failures or (state.answered and self.register.contradicts(state.answered, known)):
            return
        after = ModelState(
            _replaced(state.memories, number, known.memory),
            self._appended(queues, known.events, ended=known.move.ended),
            state.history | known.bits,
            (state.loose | known.loose) & ~(known.effects | known.undone),
            state.answered & ~known.answers,
            state.duplicates,
            state.crashes,
            failures,
            state.outside,
        )
        yield Action(number, item, known.move), after
        lost = (known.effects | known.loose) & ~state.loose
        if crashing and lost and state.crashes < self.bounds.crashes:
            yield (
                Action(number, item, known.move, crash=True),
                state._replace(
                    loose=state.loose | lost, answered=state.answered | known.answers, crashes=state.crashes + 1
                ),
            )

    def published(self, state: ModelState) -> Iterator[tuple[Action, ModelState]]:
        """Yield what may come from outside next."""
        for place, kind in enumerate(self.outside):
            if state.outside & (1 << place):
                envelope = self._from_outside(kind, emitted_id(self.saga_id, OUTSIDE, "", kind.__choreo_type__, 0))
                item = self.register.event(envelope)
                yield (
                    Action(len(self.actors), item, None),
                    state._replace(
                        queues=self._appended(state.queues, (item,), ended=False),
                        history=state.history | 1 << item,
                        outside=state.outside & ~(1 << place),
                    ),
                )

    def _known(self, number: int, memory: int, item: int | TimerKey) -> list[NumberedMove]:
        found = self._moves.get((number, memory, item))
        if found is None:
            actor, data = self.actors[number], self.register.memories[memory]
            if isinstance(item, tuple):
                moves = actor.fire(data, self.saga_id, item)
            else:
                moves = actor.deliver(data, self.saga_id, None if item == END else self.register.events[item])
            found = self._moves[number, memory, item] = [self.register.known(actor.name, move) for move in moves]
        return found

    def _appended(self, queues: Queues, events: Iterable[int], *, ended: bool) -> tuple[tuple[int, ...], ...]:
        changed = list(queues)
        for item in events:
            for place in self._readers.get(self.register.events[item].type, ()):
                changed[place] = (*changed[place], item)
        if ended:
            for place in self._readers.get(ENDS, ()):
                changed[place] = (*changed[place], END)
        return tuple(changed)

    def _from_outside(self, kind: type[Event], event_id: str) -> Envelope:
        name = kind.__choreo_type__
        now = ManualClock().now()
        return Envelope(
            example(kind), name.encode(), event_id, name, self.saga_id, self.saga.name, "1", OUTSIDE, occurred_at=now
        )


def _replaced(values: tuple[T, ...], place: int, value: T) -> tuple[T, ...]:
    return (*values[:place], value, *values[place + 1 :])
