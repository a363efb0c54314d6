"""What a handler may come to, one choice at a time.

Reading the alternatives off a handler's declaration lives here, and the choices that picks one wherever the model has a
choice; what a choice leads to does not (`actor`). Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations_with_replacement, product

from choreo.event import Event
from choreo.handler import Emission, Handler
from choreo.service import Later
from choreo.step import Branch, Emitted
from choreo.verify.model_codec import example

DELAY = timedelta(days=1)
"""How long a delayed event takes in the model, where only the order of what falls due in one memory counts."""


@dataclass(slots=True)
class Choices:
    """The choices of one run: those that are given, then the first of each, so that the next run can take another.

    Attributes:
        taken: Which alternative was picked, and of how many.
    """

    given: Sequence[int] = ()
    taken: list[tuple[int, int]] = field(default_factory=list)

    def choose(self, of: int) -> int:
        """Return which of so many alternatives is taken this time."""
        place = len(self.taken)
        chosen = self.given[place] if place < len(self.given) else 0
        self.taken.append((chosen, of))
        return chosen

    def following(self) -> "Choices | None":
        """Return the choices of the next run; None where every choice has been taken."""
        taken = [*self.taken]
        while taken:
            chosen, of = taken.pop()
            if chosen + 1 < of:
                return Choices([*(each for each, _ in taken), chosen + 1])
        return None


def outcomes(handler: Handler, branches: int) -> tuple[Emitted, ...]:
    """Return all that a handler may return, as far as its hint says; of lists that differ by order alone, one."""
    found: dict[tuple[object, ...], Emitted] = {}
    for declared in handler.outcomes or ((),):
        for parts in product(*(tuple(_forms(each, branches)) for each in declared)):
            emitted = [each for part in parts for each in part]
            found.setdefault(tuple((type(each), _kind(each)) for each in emitted), emitted)
    return tuple(found.values())


def told_of(emitted: Event | Later[Event] | Branch) -> str:
    """Return what people call what a handler returned."""
    return type(emitted if isinstance(emitted, Event) else emitted.event).__name__


def _forms(emission: Emission, branches: int) -> Iterator[Emitted]:
    if not emission.opens:
        for kind in emission.types:
            event = example(kind)
            yield [Later(event, after=DELAY) if emission.later else event]
        return
    for count in range(1, branches + 1):
        for kinds in combinations_with_replacement(emission.types, count):
            yield [Branch(example(kind), place, count) for place, kind in enumerate(kinds)]


def _kind(emitted: object) -> object:
    if isinstance(emitted, Branch):
        return type(emitted.event), emitted.path, emitted.of
    return type(emitted.event) if isinstance(emitted, Later) else None
