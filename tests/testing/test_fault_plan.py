"""Faults that chance brings: how often, how far, and only those that are asked for where some are left out."""

from collections import Counter
from datetime import timedelta

from choreo import Settings
from choreo.testing.fault_plan import FAULTS_MAX, FaultPlan, Point, Rates, Seed, identity
from choreo.testing.memory_transport import CommitTrouble
from choreo.transport import Record

SETTINGS = Settings.model_construct()


def plan(settings: Settings = SETTINGS, seed: int = 1, **rates: float) -> FaultPlan:
    none = {"crash": 0, "abort": 0, "lose": 0, "fail": 0, "duplicate": 0, "delay": 0}
    return FaultPlan(Seed(seed), Rates(**(none | rates)), settings)


def record(number: int) -> Record:
    return Record("orders", 0, number, b"key", b"", [("ce_id", str(number).encode())], 0)


def test_a_rate_is_how_often():
    crashing = plan(crash=0.2)
    deaths = [crashing.death([f"payments {number} 1"]) for number in range(2000)]
    points = Counter(found[1] for found in deaths if found is not None)
    assert 300 < points.total() < 500
    assert points.keys() == set(Point)
    assert plan().death(["payments 1 1"]) is None


def test_of_several_records_any_may_be_struck_by_its_own_name():
    alone = plan(crash=0.2)
    struck = [place for place in map(str, range(100)) if alone.death([place]) is not None]
    assert alone.death(["x", struck[0], struck[1]]) == alone.death([struck[0]])


def test_brokers_make_two_kinds_of_trouble():
    found = [plan(abort=0.5, lose=0.5).trouble([str(number)]) for number in range(100)]
    assert {each[1].cause for each in found if each is not None} == {
        CommitTrouble.ABORTED,
        CommitTrouble.UNANSWERED,
    }
    assert None in found


def test_handlers_events_come_twice_without_transactions_alone():
    at_least_once = Settings.model_construct(delivery="at_least_once")
    assert plan(duplicate=1).copy(record(1), outside=False) is None
    assert plan(duplicate=1).copy(record(1), outside=True) is not None
    assert plan(at_least_once, duplicate=1).copy(record(1), outside=False) is not None


def test_nothing_is_so_late_that_it_may_be_forgotten():
    late = plan(delay=1)
    found = [late.delay("payments", record(number)) for number in range(500)]
    total = sum((by for by in found if by is not None), timedelta(0))
    assert timedelta(days=1) < total <= SETTINGS.remember_for / 2


def test_a_record_is_late_once():
    late = plan(delay=1)
    assert late.delay("payments", record(1)) is not None
    assert late.delay("payments", record(1)) is None


def test_faults_come_to_an_end():
    failing = plan(fail=1)
    for number in range(FAULTS_MAX):
        found = failing.failure("payments capture", number)
        assert found is not None
        failing.struck[found[0]] = "raises"
    assert failing.failure("payments capture", FAULTS_MAX) is None


def test_only_what_is_named_strikes_where_names_are_given():
    chosen = plan(crash=0.001)
    chosen.only = {"crash payments 7 1"}
    struck = [number for number in range(1000) if chosen.death([f"payments {number} 1"]) is not None]
    assert struck == [7]


def test_a_record_is_known_by_its_id_or_its_key():
    assert identity(record(3)) == "3"
    assert identity(record(3)._replace(headers=[])) == "key"
    assert identity(record(3)._replace(headers=[], key=None)) == ""


# Decisions by name.


def test_a_decision_follows_from_seed_and_name_alone():
    seed = Seed(7)
    assert seed.draw("crash", "payments", 1) == Seed(7).draw("crash", "payments", 1)
    assert seed.draw("crash", "payments", 1) != seed.draw("crash", "payments", 2)
    assert seed.draw("crash", "payments", 1) != Seed(8).draw("crash", "payments", 1)


def test_it_is_the_same_on_every_machine():
    assert Seed(7).draw("crash", "payments", 1) == 0.31480146564008615
    assert [Seed(7).choose("abcdef", number) for number in range(8)] == list("cdcecaef")


def test_it_is_fair():
    draws = [Seed(1).draw(number) for number in range(10_000)]
    assert 0 <= min(draws) < 0.01
    assert 0.99 < max(draws) < 1
    assert 0.48 < sum(draws) / len(draws) < 0.52
    chosen = Counter(Seed(1).choose("abcd", number) for number in range(10_000))
    assert all(2300 < count < 2700 for count in chosen.values())
