"""The plugin, in a pytest of its own: what a test gets, and what a session without Kafka is told."""

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

SCENARIO = """
from choreo import Event, Saga, Service


class Asked(Event, topic="questions"):
    text: str


class Answered(Event, topic="answers"):
    text: str


oracle = Service("oracle")
oracle.owns(Saga("question", starts=Asked, completes=Answered, key="text"))


@oracle.handles
def answer(asked: Asked) -> Answered:
    return Answered(text=asked.text)


def test_a_question(choreo_scenario):
    s = choreo_scenario(oracle)
    saga = s.publish(Asked(text="why"))
    s.settle()
    assert saga.emitted == [Asked, Answered]
    print("seed:", s.seed)


async def in_a_loop(make):
    saga = make(oracle, park=True).publish(Asked(text="where"))
    assert saga.emitted == [Asked]


def test_several_and_inside_a_loop(choreo_scenario):
    import asyncio

    choreo_scenario(oracle)
    asyncio.run(in_a_loop(choreo_scenario))
"""
SIMULATION = (
    SCENARIO.partition("def test_a_question")[0]
    + """

def ask(s):
    print("seed:", s.seed)
    s.publish(Asked(text="why"))


def test_one_simulation(choreo_simulation):
    with choreo_simulation(oracle, crash=0.2) as s:
        ask(s)


def test_many(choreo_simulation):
    print("report:", choreo_simulation.run(ask, oracle, runs=3, duplicate=0.5))


def test_many_that_fail(choreo_simulation):
    def ask_in_vain(s):
        ask(s)
        s.settle()
        assert s.seed % 2, "even"

    choreo_simulation.run(ask_in_vain, oracle)


def test_one_that_fails(choreo_simulation):
    with choreo_simulation(oracle) as s:
        s.broker.hold("questions")
        ask(s)
"""
)
KAFKA = """
def test_kafka(choreo_kafka):
    print("servers:", choreo_kafka)
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Return a function that runs a test file in a pytest that has the plugin, installed or not."""
    for name in ("CHOREO_TEST_BOOTSTRAP_SERVERS", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")

    def run(code, *arguments):
        pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
        pytester.makepyfile(code)
        options = ["-p", "no:choreo", "-p", "choreo.testing.plugin", "-p", "no:cacheprovider", "-rs", "-s"]
        return pytester.runpytest_subprocess(*options, *arguments)

    return run


def test_scenarios_are_closed_with_the_test(run):
    result = run(SCENARIO, "-W", "error")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*seed: None*"])


def test_a_seed_reaches_the_scenarios_and_is_told(run):
    result = run(SCENARIO, "--choreo-seed", "7")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["choreo: --choreo-seed=7", "*seed: 7*"])


def test_simulations_are_judged_within_the_test(run):
    result = run(SIMULATION, "-W", "error")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*report: 3 runs from seed *: 3 sagas; faults: *"])
    result.stdout.fnmatch_lines(["*Repeat it exactly: Simulation(*seed=*), or pytest --choreo-seed *"])
    result.stdout.fnmatch_lines(["*Made smaller by * runs: * of 1 sagas *"])


def test_a_seed_repeats_one_simulation(run):
    result = run(SIMULATION, "--choreo-seed", "7", "-k", "not that_fails")
    result.assert_outcomes(passed=3, deselected=1)
    assert [line.rpartition("seed: ")[2] for line in result.stdout.lines if "seed: " in line] == ["7"] * 3
    result.stdout.fnmatch_lines(["*report: 1 runs from seed 7: 1 sagas*"])


def test_a_kafka_that_is_named_is_taken(run, monkeypatch):
    monkeypatch.setenv("CHOREO_TEST_BOOTSTRAP_SERVERS", "somewhere:9092")
    result = run(KAFKA)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*servers: somewhere:9092*"])


def test_without_any_kafka_a_test_is_skipped_with_the_reason(run):
    result = run(KAFKA)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*no real Kafka: *name one by CHOREO_TEST_BOOTSTRAP_SERVERS*"])


def test_in_ci_nothing_is_skipped_in_silence(run, monkeypatch):
    monkeypatch.setenv("CI", "true")
    run(KAFKA).assert_outcomes(errors=1)


def test_loading_the_plugin_loads_nothing_of_weight():
    code = "import sys, choreo.testing.plugin; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "confluent_kafka", "fastavro", "testcontainers"} & set(told)
    assert {each for each in told if each.partition(".")[0] == "choreo"} == {
        "choreo",
        "choreo.testing",
        "choreo.testing.plugin",
    }


def test_names_are_found_at_first_use_and_others_are_not():
    import choreo.testing

    assert set(dir(choreo.testing)) == set(choreo.testing.__all__)
    assert all(getattr(choreo.testing, name) for name in choreo.testing.__all__)
    assert callable(choreo.testing.context)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = choreo.testing.Nothing
