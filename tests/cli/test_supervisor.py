import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from choreo.cli import supervisor
from choreo.cli.supervisor import WorkerProcess, supervise

# It says that it lives, and leaves with code 0 when told.
STEADY = """
import pathlib, signal, sys, os, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with open(sys.argv[1], "a") as lives: lives.write(f"{os.getpid()}\\n")
while True: time.sleep(60)
"""
DEAF = STEADY.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")


def worker(program: str, lives: Path) -> WorkerProcess:
    return WorkerProcess(number=0, command=[sys.executable, "-c", program, str(lives)], environment=os.environ)


def pids(lives: Path) -> list[int]:
    return [int(line) for line in lives.read_text().split()] if lives.exists() else []


def when(condition: Callable[[], bool], then: Callable[[], None]) -> threading.Thread:
    """Do something as soon as a condition holds."""
    paused = threading.Event()

    def watch() -> None:
        while not condition():
            paused.wait(0.01)
        then()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def tell() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_dead_worker_is_started_again_and_all_drain_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervisor, "RESTART_DELAY_S", 0.01)
    lives = tmp_path / "lives"
    killing = when(lambda: len(pids(lives)) == 1, lambda: os.kill(pids(lives)[0], signal.SIGKILL))
    telling = when(lambda: len(pids(lives)) == 2, tell)
    assert supervise([worker(STEADY, lives)], drain_timeout_s=10)
    killing.join(10)
    telling.join(10)
    assert len(pids(lives)) == 2


def test_a_worker_that_does_not_drain_is_killed_and_that_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    lives = tmp_path / "lives"
    when(lambda: len(pids(lives)) == 1, tell)
    assert not supervise([worker(DEAF, lives)], drain_timeout_s=0.1)
    assert "did not drain" in caplog.text


def test_a_worker_that_keeps_dying_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervisor, "RESTART_DELAY_S", 0.01)
    monkeypatch.setattr(supervisor, "RESTARTS_MAX", 1)
    lives = tmp_path / "lives"
    dying = "import sys; open(sys.argv[1], 'a').write('1 '); sys.exit(3)"
    assert not supervise([worker(dying, lives)], drain_timeout_s=1)
    assert len(pids(lives)) == 2
