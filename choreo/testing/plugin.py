"""What choreo adds to pytest.

The fixtures `choreo_scenario`, `choreo_simulation` and `choreo_kafka` and the option `--choreo-seed` live here; what
they give does not.
pytest loads this module wherever choreo is installed, so it imports nothing of choreo before a test asks for it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from choreo.testing.scenario import Scenario
    from choreo.testing.shrinking import Report
    from choreo.testing.simulation import Simulation

SERVERS = "CHOREO_TEST_BOOTSTRAP_SERVERS"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--choreo-seed`."""
    parser.getgroup("choreo").addoption(
        "--choreo-seed",
        type=int,
        default=None,
        metavar="N",
        help="order and faults of scenarios and simulations follow from N; the same N repeats a run exactly",
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which seed a run has, so that it can be repeated."""
    seed = config.getoption("--choreo-seed")
    return None if seed is None else f"choreo: --choreo-seed={seed}"


@pytest.fixture
def choreo_scenario(request: pytest.FixtureRequest) -> "Iterator[Callable[..., Scenario]]":
    """Return what makes scenarios that end with the test: it takes what `Scenario` takes.

    With `--choreo-seed` records come in the order that the seed stands for.
    """
    seed = request.config.getoption("--choreo-seed")
    with ExitStack() as stack:

        def make(*services: Any, **options: Any) -> "Scenario":  # Scenario's own arguments.
            # Loaded here, so that a session without scenarios never loads them.
            scenario = import_module("choreo.testing.scenario").Scenario
            made: Scenario = scenario(*services, **({"seed": seed} | options))
            return stack.enter_context(made)

        yield make


class Simulations:
    """What `choreo_simulation` gives: simulations under the seed of the session (`--choreo-seed`), if it has one."""

    def __init__(self, seed: int | None) -> None:
        self._seed = {} if seed is None else {"seed": seed}

    def __call__(self, *services: Any, **options: Any) -> "Simulation":  # Simulation's own arguments.
        """Return a simulation, to be used as a block; it takes what `Simulation` takes."""
        made: Simulation = import_module("choreo.testing.simulation").Simulation(*services, **(options | self._seed))
        return made

    def run(self, run: "Callable[[Simulation], object]", *services: Any, **options: Any) -> "Report":
        """Run a function under many seeds, or under the session's alone; it takes what `simulate` takes."""
        once = {"runs": 1, **self._seed} if self._seed else {}
        report: Report = import_module("choreo.testing.shrinking").simulate(run, *services, **(options | once))
        return report


@pytest.fixture
def choreo_simulation(request: pytest.FixtureRequest) -> Simulations:
    """Return what makes simulations: called, one for a block; by `run`, many of one function.

    With `--choreo-seed` there is one run, which that seed stands for.
    """
    return Simulations(request.config.getoption("--choreo-seed"))


@pytest.fixture(scope="session")
def choreo_kafka() -> Iterator[str]:
    """Return the bootstrap servers of a real Kafka, shared by the session.

    It is the one that `CHOREO_TEST_BOOTSTRAP_SERVERS` names, else a container of Kafka's public image (testcontainers).
    Without either the test is skipped with the reason, and fails where `CI=true`.
    """
    if servers := os.environ.get(SERVERS):
        yield servers
        return
    container = import_module("choreo.testing.kafka_container")
    with ExitStack() as stack:
        try:
            servers = stack.enter_context(container.kafka_container())
        except container.NoContainer as error:
            reason = f"no real Kafka: {error}; name one by {SERVERS}"
            if os.environ.get("CI", "").lower() == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        yield servers
