"""Simulations: what is sound holds under every fault, and what is not is found, told and made small."""

import itertools
import os
import subprocess
import sys
import uuid
from collections import Counter
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest

from choreo import Event, Failure, Retry, Saga, SagaState, Service
from choreo.runtime.partition import Retention
from choreo.step import settlement
from choreo.step.compensations import Compensations
from choreo.testing import InvariantBroken, Point, Simulation
from choreo.testing.fault_plan import FAULTS_MAX
from choreo.testing.memory_transport.memory_cluster import MemoryCluster
from choreo.testing.memory_transport.partition_log import LogTransaction
from choreo.transport import Outgoing
from tests.effort import part
from tests.planted import planted
from tests.testing import shop
from tests.testing.world import AT_LEAST_ONCE, MANY, simulated
from tests.verify.visits import VISITS, VisitorCame

ROOT = Path(__file__).parents[2]
SEEDS = 60
"""Runs within which what is planted is found."""
NO_FAULTS = {"crash": 0, "abort": 0, "lose": 0, "fail": 0, "duplicate": 0, "delay": 0, "reorder": False}


@pytest.mark.parametrize("seed", range(part(10, of=25)))
def test_orders_hold_whatever_happens(seed):
    s = simulated(seed, **MANY)
    assert len(s.faults) > 3


@pytest.mark.parametrize("seed", range(part(4, of=10)))
def test_orders_hold_without_transactions(seed):
    simulated(seed, settings=AT_LEAST_ONCE, **MANY)


def test_orders_hold_side_by_side():
    s = simulated(3, sagas=8)
    assert s.sagas == 8


def test_every_kind_of_fault_strikes():
    kinds = Counter(name.partition(" ")[0] for seed in range(8) for name in simulated(seed, **MANY).faults)
    assert kinds.keys() == {"crash", "abort", "lose", "fail", "duplicate", "delay"}


def test_faults_end_so_that_all_comes_to_rest():
    s = simulated(1, abort=1.0)
    assert len(s.faults) == FAULTS_MAX


def test_without_faults_it_is_a_scenario():
    with Simulation(*shop.ALL, **NO_FAULTS) as s:
        saga = s.publish(shop.OrderPlaced(order_id="17"))
        s.settle()
        assert saga.state is SagaState.COMPLETED
        assert s.faults == {}
        assert s.digest == s.digest


@pytest.mark.parametrize("options", [{}, {"settings": AT_LEAST_ONCE}, {"reorder": False}])
def test_the_same_seed_makes_the_same_run(options):
    runs = [simulated(11, **MANY, **options) for _ in range(2)]
    assert runs[0].digest == runs[1].digest
    assert runs[0].faults == runs[1].faults
    assert simulated(12, **MANY, **options).digest != runs[0].digest


def test_a_seed_is_drawn_where_none_is_given():
    seeds = {Simulation(*shop.ALL).seed for _ in range(3)}
    assert len(seeds) == 3


def test_rates_are_shares_and_have_names():
    with pytest.raises(ValueError, match=r"crash=2 is no share"):
        Simulation(*shop.ALL, crash=2)
    with pytest.raises(TypeError, match=r"there is no crashes; faults are crash, abort"):
        Simulation(*shop.ALL, crashes=0.1)


CODE = """
import logging, sys
logging.disable(logging.CRITICAL)
from tests.testing.world import AT_LEAST_ONCE, MANY, simulated
for seed in range(4):
    print(simulated(seed, **MANY).digest, simulated(seed, settings=AT_LEAST_ONCE, **MANY).digest)
print(simulated(9, sagas=5, **MANY).digest)
"""


def test_a_run_is_the_same_byte_for_byte_whatever_python_makes_of_hashes():
    """`CHOREO_TEST_PYTHONS` names further interpreters, other versions of Python, that must agree."""
    told = set()
    pythons = [sys.executable, sys.executable, *os.environ.get("CHOREO_TEST_PYTHONS", "").split()]
    for number, python in enumerate(pythons):
        around = {"PYTHONHASHSEED": str(number), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
        done = subprocess.run([python, "-c", CODE], env=around, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        told.add(done.stdout)
    assert len(told) == 1


# What is planted is found.


def forget_fences(_monkeypatch):
    line = "rules, fences, outcome = self.saga.rules, self.saga.memory.fences, Outcome()"
    return planted("choreo.step.participant", line, f"self.saga.memory.fences.clear()\n        {line}")


def take_ids_from_arrival(monkeypatch):
    numbers = itertools.count()
    monkeypatch.setattr(settlement, "emitted_id", lambda *_: str(uuid.UUID(int=next(numbers))))


def commit_in_two(monkeypatch):
    def in_two(cluster, group, commit, fault):
        cluster.write(commit.outputs)
        transaction = LogTransaction()
        cluster.write(commit.changelog, transaction)
        if fault is None:
            transaction.commit()
            group.committed.update(commit.offsets)
        else:
            transaction.abort()

    monkeypatch.setattr(MemoryCluster, "commit_at_once", in_two)


def move_on_before_committing(monkeypatch):
    whole = MemoryCluster.commit_at_once

    def careless(cluster, group, commit, fault):
        group.committed.update(commit.offsets)
        whole(cluster, group, commit, fault)

    monkeypatch.setattr(MemoryCluster, "commit_at_once", careless)


def forget_own_events(_monkeypatch):
    """Rule 8."""
    line = "memory.events[envelope.event_id] = record(envelope, body=body, mine=True, step=name, trigger=trigger)"
    return planted("choreo.step.settlement", line, "pass")


def cancel_nothing(monkeypatch):
    """Rule 15."""
    monkeypatch.setattr(Compensations, "allowed", lambda _, run: [run])


def undo_nothing_unknown(monkeypatch):
    """Rule 16."""
    monkeypatch.setattr(Compensations, "null_compensation", lambda *_: iter(()))


def forget_at_once(monkeypatch):
    """Rule 5."""
    begin = Retention.__init__
    monkeypatch.setattr(Retention, "__init__", lambda forgetting, _: begin(forgetting, 0))


@pytest.mark.parametrize(
    ("plant", "invariants"),
    [
        (forget_at_once, "I2 I5"),
        (forget_fences, "I2 I5"),
        (take_ids_from_arrival, "I2"),
        (commit_in_two, "I2"),
        (move_on_before_committing, "I4"),
        (forget_own_events, "I1 I4"),
        (cancel_nothing, "I1 I4"),
        (undo_nothing_unknown, "I1 I4"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_is_taken_out_of_the_core_is_found(plant, invariants, monkeypatch):
    with plant(monkeypatch) or nullcontext():
        for seed in range(SEEDS):
            try:
                simulated(seed, **MANY)
            except InvariantBroken as broken:
                assert {each.invariant for each in broken.breaches} & set(invariants.split())
                return
    pytest.fail("nothing was found")


def visited(seeds: int) -> None:
    for seed in range(seeds):
        with Simulation(*VISITS, seed=seed, **MANY) as s:
            s.publish(VisitorCame())


def test_r26_what_does_not_wait_behind_a_step_that_is_tried_again_is_found():
    visited(10)
    behind = "if all(branch != event.branch for _, branch, _ in retrying):"
    with (
        planted("choreo.step.participant", behind, "if True:"),
        pytest.raises(InvariantBroken, match=r"I4 \(comes to rest\): it never ended: no VisitDone from desk came"),
    ):
        visited(SEEDS)


# What is told.


class Booked(Event, topic="bookings"):
    number: str


class Paid(Event, topic="money"):
    number: str


class Refused(Failure, topic="bookings"):
    number: str


class Returned(Event, topic="money"):
    number: str


class Cancelled(Event, topic="bookings"):
    number: str


class Unverified(Event, topic="money"):
    number: str


class Confirmed(Event, topic="bookings"):
    number: str


class Closed(Failure, topic="bookings"):
    """The hotel is closed, which it never is."""

    number: str


def hotel(*, undone: bool) -> tuple[Service, Service]:
    """Return a hotel that refuses every booking, and a bank that gives the money back, or only where it is closed."""
    front, bank = Service("front"), Service("bank")
    front.owns(Saga("stay", starts=Booked, completes=Confirmed, fails=Cancelled, key="number"))

    @bank.handles
    def pay(booked: Booked) -> Paid:
        return Paid(number=booked.number)

    def give_back(_cause: Refused | Closed, paid: Paid) -> Returned:
        return Returned(number=paid.number)

    def give_back_seldom(_cause: Closed, paid: Paid) -> Returned:
        return Returned(number=paid.number)

    bank.compensates(name="give_back")(give_back if undone else give_back_seldom)

    @front.handles
    def refuse(paid: Paid) -> Confirmed | Refused | Closed:
        return Refused(number=paid.number, reason="full")

    @front.handles
    def cancel(refused: Refused | Closed) -> Cancelled:
        return Cancelled(number=refused.number)

    return front, bank


def breach(*services: Service, seed: int = 1, **options: object) -> InvariantBroken:
    """Return what is told of a run with one saga."""
    with pytest.raises(InvariantBroken) as raised, Simulation(*services, seed=seed, **options) as s:
        s.publish(Booked(number="7"))
    return raised.value


def test_a_broken_invariant_is_told_with_its_seed_its_saga_and_its_story():
    broken = breach(*hotel(undone=False), seed=5, **NO_FAULTS)
    assert [each.invariant for each in broken.breaches] == ["I1"]
    assert broken.seed == 5
    text = str(broken)
    assert "stay 7 (" in text
    assert "I1 (all or compensated): Paid was never undone by bank.give_back, though Refused aborted the saga" in text
    assert "outside publishes Booked" in text
    assert "bank reads Booked; commits Paid" in text
    assert "Simulation(…, seed=5), or pytest --choreo-seed 5" in text
    with Simulation(*hotel(undone=True), seed=5, crash=0.2) as s:
        s.publish(Booked(number="7"))


def test_what_struck_stands_in_the_story():
    front, bank = hotel(undone=False)
    s = Simulation(front, bank, seed=1, **NO_FAULTS)
    s.crash(bank, at=Point.AFTER_HANDLER)
    s.fail(front, "refuse", after=True)
    with pytest.raises(InvariantBroken) as raised, s:
        s.publish(Booked(number="7"))
    story = "\n".join(raised.value.story)
    assert "bank reads Booked; dies after pay\n" in story
    assert "front reads Paid; refuse raises TransientFault when it has run; commits a note (retried refuse)" in story
    assert "front is woken by a timer; commits Refused" in story
    assert "0.000 s  outside publishes Booked" in story
    assert "Cancelled, the end" in story


def test_a_saga_that_nobody_ends_is_told_with_what_it_waits_for():
    front, _ = hotel(undone=True)
    broken = breach(front)
    assert [each.invariant for each in broken.breaches] == ["I4", "I4"]
    assert broken.breaches[0].text == "it never ended: no Confirmed from front came"
    assert "waiting for: bookings.Confirmed from front" in broken.breaches[1].text


def test_mistakes_of_handlers_come_as_they_are_with_the_seed():
    front, bank = hotel(undone=True)

    @bank.handles(retry=Retry(attempts=1))
    def break_down(_booked: Booked) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised, Simulation(front, bank, seed=6) as s:
        s.publish(Booked(number="7"))
    assert raised.value.__notes__ == ["Repeat it exactly: Simulation(…, seed=6), or pytest --choreo-seed 6"]
    with pytest.raises(KeyError) as raised, Simulation(front, bank, seed=6):
        raise KeyError
    assert "seed=6" in raised.value.__notes__[0]


def test_a_mistake_that_a_check_meets_is_told_once():
    front, bank = hotel(undone=True)

    @bank.handles(retry=Retry(attempts=1))
    def break_down(_booked: Booked) -> None:
        raise ZeroDivisionError

    def check(s: Simulation) -> None:
        s.publish(Booked(number="7"))
        s.check()

    with pytest.raises(ZeroDivisionError) as raised, Simulation(front, bank, seed=6) as s:
        check(s)
    assert len(raised.value.__notes__) == 1


def test_a_step_that_waits_for_a_person_may_be_looked_at():
    front, bank = hotel(undone=True)

    @bank.handles(retry=Retry(attempts=1))
    def break_down(_booked: Booked) -> None:
        raise ZeroDivisionError

    with Simulation(front, bank, seed=6, park=True) as s:
        saga = s.publish(Booked(number="7"))
        s.settle()
        assert "parked" in saga.flags


def test_chance_never_parks_a_step():
    """Unless something answers for it: then it may come to that."""
    given_up = Counter()
    for seed in range(30):
        front, bank = hotel(undone=True)

        @front.handles(retry=Retry(attempts=2), name="check")
        def check(_booked: Booked) -> None:
            return None

        @bank.handles(retry=Retry(attempts=2))
        def verify(_booked: Booked) -> None:
            return None

        @bank.otherwise(verify)
        def unverified(booked: Booked, _error: Exception) -> Unverified:
            given_up["unverified"] += 1
            return Unverified(number=booked.number)

        with Simulation(front, bank, seed=seed, fail=0.7) as s:
            s.publish(Booked(number="7"))
    assert 0 < given_up["unverified"] < 30


def test_what_is_forgotten_in_time_is_not_asked_for():
    front, bank = hotel(undone=True)
    with Simulation(front, bank, seed=2, **NO_FAULTS) as s:
        s.publish(Booked(number="7"))
        s.settle()
        s.advance(timedelta(days=8))
        assert not any(s.broker.restore("bank.memory", range(6)).values())
        s.check()
        s.publish(Booked(number="8"))


def test_a_memory_that_is_lost_is_found():
    front, bank = hotel(undone=True)
    with Simulation(front, bank, seed=2, **NO_FAULTS) as s:
        saga = s.publish(Booked(number="7"))
        s.check()
        [remembered] = [each.value for each in s.broker.records("bank.memory")[-1:]]
        s.broker.write([Outgoing("bank.memory", saga.saga_id.encode(), None, [])])
        s.restart(bank)
        with pytest.raises(InvariantBroken, match=r"I5 .*bank\.pay is compensated to the tracker, and bank remembers"):
            s.check()
        s.broker.write([Outgoing("bank.memory", saga.saga_id.encode(), remembered, [])])
        s.restart(bank)


def test_a_service_that_goes_by_what_it_has_not_committed_is_found():
    front, bank = hotel(undone=True)
    with Simulation(front, bank, seed=2, **NO_FAULTS) as s:
        saga = s.publish(Booked(number="7"))
        s.check()
        for memories in s.delivery.services["bank"].engine.partitions.values():
            memories.pop(saga.saga_id, None)
        with pytest.raises(InvariantBroken, match=r"I5 .*bank remembers something else than it has committed"):
            s.check()
        s.restart(bank)


def test_duplicates_that_a_test_asks_for_are_nobodys_breach():
    front, bank = hotel(undone=True)
    with Simulation(front, bank, seed=4) as s:
        s.duplicate(Paid)
        s.duplicate(Booked)
        saga = s.publish(Booked(number="7"))
        s.settle()
        assert len(s.broker.records("money")) == 3
        assert saga.state is SagaState.FAILED


def test_what_is_no_event_of_any_saga_is_passed_over():
    front, bank = hotel(undone=True)
    with Simulation(front, bank, seed=4) as s:
        saga = s.publish(Booked(number="7"))
        s.broker.write([Outgoing("money", saga.saga_id.encode(), b"garbage", [("ce_id", b"1")])])
        s.broker.write([Outgoing("money", b"nobody", None, [])])
    assert len(s.broker.records("front.dlq")) == 2


def test_what_is_held_back_is_released_in_the_end():
    front, bank = hotel(undone=True)
    with Simulation(front, bank, seed=4) as s:
        s.hold("money")
        saga = s.publish(Booked(number="7"))
        s.settle()
        assert saga.emitted == [Booked, Paid]


def test_code_under_test_may_publish_by_itself():
    with Simulation(*hotel(undone=True), seed=4) as s:
        for number in ("7", "8"):
            with s.publisher as publisher:
                publisher.publish(Booked(number=number))
        assert s.sagas == 2
    s = Simulation(*hotel(undone=False), seed=4)
    with pytest.raises(InvariantBroken), s, s.publisher as publisher:
        publisher.publish(Booked(number="7"))
    assert s.sagas == 1
