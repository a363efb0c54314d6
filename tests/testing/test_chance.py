"""Decisions by name: the same everywhere, and none depends on another."""

from collections import Counter

from choreo.testing.chance import Chance


def test_a_decision_follows_from_seed_and_name_alone():
    chance = Chance(7)
    assert chance.draw("crash", "payments", 1) == Chance(7).draw("crash", "payments", 1)
    assert chance.draw("crash", "payments", 1) != chance.draw("crash", "payments", 2)
    assert chance.draw("crash", "payments", 1) != Chance(8).draw("crash", "payments", 1)


def test_it_is_the_same_on_every_machine():
    assert Chance(7).draw("crash", "payments", 1) == 0.31480146564008615
    assert [Chance(7).choose("abcdef", number) for number in range(8)] == list("cdcecaef")


def test_it_is_fair():
    draws = [Chance(1).draw(number) for number in range(10_000)]
    assert 0 <= min(draws) < 0.01
    assert 0.99 < max(draws) < 1
    assert 0.48 < sum(draws) / len(draws) < 0.52
    chosen = Counter(Chance(1).choose("abcd", number) for number in range(10_000))
    assert all(2300 < count < 2700 for count in chosen.values())
