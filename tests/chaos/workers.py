"""The services as processes of `choreo run`, to be killed, stopped and replaced."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGETS = {
    **{name: f"services.{name}" for name in ("order", "inventory", "payment", "shipping", "notification")},
    **{name: f"tests.chaos.errands:{name}" for name in ("errands", "hands")},
}
SERVICES = tuple(TARGETS)
START_TIMEOUT_S = 60.0
LEAVE_TIMEOUT_S = 90.0
LOG_CHARS = 4000


class Workers:
    """Processes, each under an instance of its own.

    Args:
        bootstrap: The brokers.
        data: Folder for database files and logs.
        module: What is run: `choreo`, which tests.chaos.work is, or a stand-in that breaks it on purpose.
    """

    def __init__(self, bootstrap: str, data: Path, module: str = "tests.chaos.work") -> None:
        self._environment = {
            **os.environ,
            "CHOREO_BOOTSTRAP_SERVERS": bootstrap,
            "SERVICES_DATA": str(data),
            "PYTHONPATH": str(ROOT),
            # The most that a batch may take under a broker that comes and goes.
            "CHOREO_KAFKA__SESSION_TIMEOUT_MS": "6000",
        }
        self._data = data
        self._module = module
        self._begins: dict[str, int] = {}
        self.live: dict[str, subprocess.Popen[bytes]] = {}
        self.zombies: list[subprocess.Popen[bytes]] = []

    def start(self, service: str) -> None:
        """Start one, under the instance that it always has."""
        with self.log(service).open("ab") as log:
            self._begins[service] = log.tell()
            self.live[service] = subprocess.Popen(
                [sys.executable, "-m", self._module, "run", TARGETS[service]],
                cwd=ROOT,
                env={**self._environment, "CHOREO_INSTANCE": f"chaos-{service}"},
                stdout=log,
                stderr=log,
            )

    def kill(self, service: str) -> None:
        """SIGKILL one and start it again."""
        self.live[service].kill()
        self.live[service].wait()
        self.start(service)

    def terminate(self, service: str) -> None:
        """SIGTERM one, wait until it has drained, and start it again."""
        process = self.live[service]
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        self.start(service)

    def replace(self, service: str) -> None:
        """SIGSTOP one and start another in its place; the first is a zombie until `wake`."""
        # Stopped before it has joined, it would be the last to join, and rightly drive its replacement out.
        self._await_owner(service)
        process = self.live[service]
        process.send_signal(signal.SIGSTOP)
        self.zombies.append(process)
        self.start(service)

    def wake(self) -> int:
        """SIGCONT the zombies and wait until each has found out and left.

        Returns:
            How many replacements ended by themselves meanwhile and were started again: without one, nobody drives a
            zombie out.
        """
        for zombie in self.zombies:
            zombie.send_signal(signal.SIGCONT)
        revived = 0
        deadline = time.monotonic() + LEAVE_TIMEOUT_S
        while any(zombie.poll() is None for zombie in self.zombies):
            if time.monotonic() > deadline:
                for zombie in self.zombies:
                    zombie.kill()
                logs = "\n".join(self.log(service).read_text(encoding="utf-8")[-LOG_CHARS:] for service in self.live)
                raise AssertionError(f"a zombie went on working {LEAVE_TIMEOUT_S:.0f} s after it was replaced\n{logs}")
            revived += self.revive()
            time.sleep(0.05)
        self.zombies.clear()
        return revived

    def revive(self) -> int:
        """Start again what ended by itself, as a supervisor would; return how many that were."""
        gone = [service for service, process in self.live.items() if process.poll() is not None]
        for service in gone:
            self.start(service)
        return len(gone)

    def log(self, service: str) -> Path:
        """Return the file that holds what a service and its predecessors logged."""
        return self._data / f"{service}.log"

    def _await_owner(self, service: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while b"owns partitions" not in self.log(service).read_bytes()[self._begins[service] :]:
            assert time.monotonic() < deadline, f"{service} owned nothing {START_TIMEOUT_S:.0f} s after its start"
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM all and wait."""
        for process in (*self.live.values(), *self.zombies):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + START_TIMEOUT_S
        for process in (*self.live.values(), *self.zombies):
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
