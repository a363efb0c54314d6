"""docker-compose.yml, for real: everything comes up, an order goes through, and the tracker knows."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SETTLED = {"completed", "failed"}
UP_TIMEOUT_S = 300
QUIET: Any = {"capture_output": True, "text": True}
SETTLE_TIMEOUT_S = 90

pytestmark = [
    pytest.mark.docker,
    pytest.mark.xdist_group("docker"),
    pytest.mark.timeout(600),
    pytest.mark.skipif("CHOREO_TEST_DOCKER" not in os.environ, reason="make test-docker runs it"),
]

Compose = Callable[..., str]


def compose_command() -> list[str]:
    if (
        shutil.which("docker")
        and subprocess.run(["docker", "compose", "version"], check=False, **QUIET).returncode == 0
    ):
        return ["docker", "compose"]
    assert shutil.which("docker-compose"), "neither `docker compose` nor docker-compose is here"
    return ["docker-compose"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    command = [*compose_command(), "--project-name", f"choreo-test-{os.getpid()}"]
    environment = {**os.environ, "KAFKA_PORT": str(free_port()), "COMPOSE_HTTP_TIMEOUT": "300"}

    def run(*arguments: str, timeout_s: float = 120) -> str:
        done = subprocess.run(
            [*command, *arguments], cwd=ROOT, env=environment, timeout=timeout_s, check=False, **QUIET
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-4000:]}{done.stderr[-4000:]}{logs()}"
        return done.stdout

    def logs() -> str:
        told = subprocess.run(
            [*command, "logs", "--no-color", "--tail", "40"], cwd=ROOT, env=environment, check=False, **QUIET
        )
        return told.stdout + told.stderr

    try:
        run("up", "--build", "--detach", timeout_s=UP_TIMEOUT_S)
        yield run
    finally:
        down = ["--profile", "place", "down", "--volumes", "--timeout", "20"]
        subprocess.run([*command, *down], cwd=ROOT, env=environment, check=False, **QUIET)


def until(compose: Compose, what: str, probe: Callable[[], object], timeout_s: float) -> object:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(1)
    raise AssertionError(
        f"{what}: not within {timeout_s} s; {compose('ps')}{compose('logs', '--no-color', '--tail', '30')}"
    )


def containers(compose: Compose) -> dict[str, str]:
    """Return the health of each service's container; "" where it has no health check."""
    found = {}
    for container in compose("ps", "-q").split():
        told = subprocess.run(["docker", "inspect", container], capture_output=True, text=True, check=True).stdout
        inspected = json.loads(told)[0]
        name = inspected["Config"]["Labels"]["com.docker.compose.service"]
        found[name] = inspected["State"].get("Health", {}).get("Status", "")
    return found


def counts(compose: Compose) -> dict[str, int]:
    told = json.loads(compose("exec", "-T", "tracker", "choreo", "sagas", "stats", "--json"))
    return {state: number for states in told["counts"].values() for state, number in states.items() if number}


def test_everything_comes_up_healthy(compose: Compose) -> None:
    watched = {"kafka", "order", "inventory", "payment", "shipping", "notification", "tracker"}

    def healthy() -> bool:
        states = containers(compose)
        return watched <= states.keys() and all(states[name] == "healthy" for name in watched)

    until(compose, "all healthy", healthy, UP_TIMEOUT_S)


def test_orders_flow_and_the_tracker_knows(compose: Compose) -> None:
    compose("run", "--rm", "-T", "place")

    def settled() -> dict[str, int] | None:
        now = counts(compose)
        return now if now and not now.keys() - SETTLED and sum(now.values()) >= 50 else None

    found = until(compose, "50 sagas at rest", settled, SETTLE_TIMEOUT_S)

    assert isinstance(found, dict)
    assert sum(found.values()) == 50
    assert found["completed"] > 0


def test_stopping_drains(compose: Compose) -> None:
    compose("stop", "--timeout", "25", "payment")
    stopped = (
        compose("ps", "-a", "-q", "payment") if compose_command()[0] == "docker" else compose("ps", "-q", "payment")
    )
    told = subprocess.run(["docker", "inspect", *stopped.split()], capture_output=True, text=True, check=True).stdout

    assert [each["State"]["ExitCode"] for each in json.loads(told)] == [0]
