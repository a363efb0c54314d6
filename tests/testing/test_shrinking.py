"""Many simulations of one function, and the smallest that fails."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from choreo import Event, Saga, Service
from choreo.clock import ManualClock
from choreo.testing import InvariantBroken, Simulation, simulate
from choreo.testing.shrinking import SMALLER_RUNS_MAX, fewest
from tests.testing import shop

HIGH = {"crash": 0.2, "abort": 0.2, "lose": 0.2, "fail": 0.2, "duplicate": 0.5, "delay": 0.2}


class Asked(Event, topic="asks"):
    number: str


class Answered(Event, topic="answers"):
    number: str


def place(s: Simulation) -> None:
    for number in range(3):
        s.publish(shop.OrderPlaced(order_id=str(number)))


def test_a_report_says_what_was_run():
    report = simulate(place, *shop.ALL, runs=4, seed=7, **HIGH)
    assert (report.runs, report.seed, report.sagas) == (4, 7, 12)
    assert report.faults.keys() <= {"crash", "abort", "lose", "fail", "duplicate", "delay"}
    assert report.faults.total() > 10
    assert str(report).startswith("4 runs from seed 7: 12 sagas; faults: ")
    assert str(simulate(place, *shop.ALL, runs=1, seed=7, **dict.fromkeys(HIGH, 0))).endswith("faults: none")


def test_every_run_has_a_seed_of_its_own_and_the_first_is_drawn():
    seeds: list[int] = []
    for _ in range(2):
        simulate(lambda s: seeds.append(s.seed), *shop.ALL, runs=2)
    assert seeds[1] == seeds[0] + 1
    assert seeds[3] == seeds[2] + 1
    assert seeds[0] != seeds[2]


def test_every_run_begins_at_the_same_time():
    clock = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
    begun: list[datetime] = []

    def run(s: Simulation) -> None:
        begun.append(s.now)
        s.advance(timedelta(days=1))

    simulate(run, *shop.ALL, runs=2, clock=clock)
    assert begun == [clock.now()] * 2 == [datetime(2030, 1, 1, tzinfo=UTC)] * 2


def twice_is_wrong() -> tuple[Service, Callable[[Simulation], None]]:
    """Return a service whose effect may not be repeated, and a test that says so for the second of four sagas."""
    asked: list[str] = []
    service = Service("oracle")
    service.owns(Saga("question", starts=Asked, completes=Answered, key="number"))

    @service.handles
    def answer(ask: Asked) -> Answered:
        asked.append(ask.number)
        return Answered(number=ask.number)

    def run(s: Simulation) -> None:
        asked.clear()
        for number in range(4):
            s.publish(Asked(number=str(number)))
        s.settle()
        assert asked.count("1") < 2, "it was asked twice"

    return service, run


def test_of_a_run_that_fails_the_smallest_is_told():
    service, run = twice_is_wrong()
    with pytest.raises(AssertionError, match="it was asked twice") as raised:
        simulate(run, service, runs=50, seed=1, **HIGH)
    told = "\n".join(raised.value.__notes__)
    assert "Repeat it exactly: Simulation(…, seed=" in told
    assert "1 of 4 sagas and 1 of" in told
    assert "records come oldest first" in told
    assert told.count("\n  oracle ") == 1


def test_a_seed_repeats_what_failed_and_what_is_left_of_it():
    service, run = twice_is_wrong()
    told = []
    for seed in (None, None):
        with pytest.raises(AssertionError) as raised:
            simulate(run, service, runs=50, seed=1 if seed is None else seed, **HIGH)
        told.append(raised.value.__notes__)
    assert told[0] == told[1]


def test_what_needs_no_fault_is_told_without_any():
    service = Service("oracle")
    service.owns(Saga("question", starts=Asked, completes=Answered, key="number"))

    @service.handles
    def answer(ask: Asked) -> Answered | None:
        return None if ask.number == "2" else Answered(number=ask.number)

    def run(s: Simulation) -> None:
        for number in range(4):
            s.publish(Asked(number=str(number)))

    with pytest.raises(InvariantBroken, match="question 2") as raised:
        simulate(run, service, runs=5, **HIGH)
    assert "I4" in str(raised.value)
    assert "1 of 4 sagas and 0 of" in raised.value.__notes__[0]
    assert len(raised.value.story) == 2


def test_what_fails_otherwise_when_it_is_smaller_is_left_as_it_is():
    """Without its first saga the function fails by itself: that is another failure."""
    service, _ = twice_is_wrong()

    def run(s: Simulation) -> None:
        first, second = (s.publish(Asked(number=str(number))) for number in range(2))
        s.settle()
        assert first.emitted == [Asked, Answered]
        raise ZeroDivisionError if second.emitted else KeyError

    with pytest.raises(ZeroDivisionError) as raised:
        simulate(run, service, runs=1, **dict.fromkeys(HIGH, 0))
    assert "2 of 2 sagas" in raised.value.__notes__[1]


def test_events_into_a_saga_that_is_left_out_are_left_out_with_it():
    service, _ = twice_is_wrong()

    class Added(Event, topic="asks"):
        number: str

    service.publishes(Added, by="somebody")
    told: list[int] = []

    @service.handles
    def add(_added: Added) -> None:
        return None

    def run(s: Simulation) -> None:
        for number in range(3):
            s.publish(Asked(number=str(number)))
            s.publish(Added(number=str(number)), key=str(number))
        s.settle()
        told.append(len(s.broker.records("asks")))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        simulate(run, service, runs=1, **dict.fromkeys(HIGH, 0))
    assert told[0] == 6
    assert min(told) == 0
    assert all(each % 2 == 0 for each in told)


def test_little_time_is_spent_on_making_it_smaller(monkeypatch):
    monkeypatch.setattr("choreo.testing.shrinking.SMALLER_RUNS_MAX", 2)
    service, run = twice_is_wrong()
    with pytest.raises(AssertionError) as raised:
        simulate(run, service, runs=50, seed=1, **HIGH)
    assert "Made smaller by 2 runs" in raised.value.__notes__[-1]


@pytest.mark.parametrize("guilty", [set(), {3}, {0, 9}, {2, 3, 7}, set(range(10))])
def test_the_fewest_that_fail_are_found(guilty):
    items = [str(each) for each in range(10)]
    tried: list[int] = []

    def fails(parts):
        tried.append(len(parts))
        return guilty <= {int(each) for each in parts}

    assert {int(each) for each in fewest(items, fails)} == guilty
    assert len(tried) < SMALLER_RUNS_MAX
