"""Faults under load on a real Kafka: nothing lost, nothing doubled, everything adds up. And the judge is judged."""

import os

import pytest

from tests.chaos.rounds import STILL_S, run

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(7200), pytest.mark.xdist_group("chaos")]
ROUNDS = int(os.environ.get("CHOREO_CHAOS_ROUNDS", "8"))
ROUNDS_ON_THREE = max(2, ROUNDS // 4)
BROKERS = ("broker kill -9", "brokers in turn")


def test_i1_to_i6_hold_under_faults():
    breaches, figures = run(ROUNDS)
    assert breaches == []
    assert figures["effects whose commit was lost"] > 0
    assert figures["steps overtaken by a failure"] > 0


def test_i1_to_i6_hold_when_brokers_are_killed_one_or_three_in_turn():
    only = BROKERS if len(BROKERS) == ROUNDS_ON_THREE else ()
    breaches, figures = run(ROUNDS_ON_THREE, brokers=3, only=only, whole=len(BROKERS) < ROUNDS_ON_THREE)
    assert breaches == []
    assert all(figures[each] for each in BROKERS)


def test_the_judge_catches_a_runtime_without_seek_back():
    breaches, _ = run(1, module="tests.chaos.careless", only=["SIGTERM"], whole=False, still_s=STILL_S)
    assert breaches, "a loop that does not seek back after an abort loses events, and the judge must see it"
