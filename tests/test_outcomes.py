"""What a handler may return, read off its return hint: one outcome each time."""

from collections.abc import AsyncIterator, Iterator

import pytest

from choreo import Event, Later
from choreo.service.hints import OUTCOMES_MAX, Hint, returned


class A(Event, topic="t"):
    pass


class B(Event, topic="t"):
    pass


class C(Event, topic="t"):
    pass


def told(hint: Hint) -> list[str]:
    """Each outcome in a word: names in order, * behind what opens branches, ~ behind what comes later."""
    return [
        " ".join("|".join(kind.__name__ for kind in one.types) + "*" * one.opens + "~" * one.later for one in outcome)
        for outcome in returned(hint).outcomes
    ]


@pytest.mark.parametrize(
    ("hint", "outcomes"),
    [
        (A, ["A"]),
        (None, [""]),
        (A | B, ["A", "B"]),
        (A | None, ["A", ""]),
        (tuple[A, B], ["A B"]),
        (tuple[A, B | C], ["A B", "A C"]),
        (tuple[A, B | None], ["A B", "A"]),
        (tuple[A, ...], ["", "A"]),
        (A | tuple[A, B], ["A", "A B"]),
        (list[A | B], ["A|B*"]),
        (tuple[A, list[B]], ["A B*"]),
        (Later[A] | B, ["A~", "B"]),
        (tuple[A, Later[B]], ["A B~"]),
        (Iterator[A | B], ["", "A", "B", "A B"]),
        (AsyncIterator[A], ["", "A"]),
    ],
)
def test_outcomes_are_what_the_hint_allows(hint: Hint, outcomes: list[str]):
    assert told(hint) == outcomes


def test_a_tuple_of_unions_is_told_apart_up_to_a_bound():
    either = A | B | C | None
    assert len(told(tuple[either, either, either, either, either])) <= OUTCOMES_MAX
