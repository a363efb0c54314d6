"""Several worker processes, kept running until SIGTERM.

Starting, restarting with backoff, and forwarding signals live here; what a worker does does not. `choreo run -w N`
calls `supervise`.
"""

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RESTART_DELAY_S = 0.5
RESTART_DELAY_S_MAX = 30.0
RESTARTS_MAX = 10
STEADY_S = 60.0
LOOK_S = 0.1
_log = logging.getLogger("choreo")


@dataclass(slots=True)
class WorkerProcess:
    """One worker process, which may run.

    Attributes:
        deaths: Times it ended in a row without having run for `STEADY_S`.
        started_at: When it was started last, on the monotonic clock.
        due_at: When it is to be started again.
    """

    number: int
    command: Sequence[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    started_at: float = 0.0
    due_at: float = 0.0

    def restart_if_needed(self) -> bool:
        """Start the process if it is due, and plan the next start if it ended; False gives it up."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due_at:
                self.process = subprocess.Popen(self.command, env=self.environment)  # noqa: S603 - our own command line
                self.started_at = now
            return True
        code = self.process.poll()
        if code is None:
            return True
        self.deaths = 1 if now - self.started_at >= STEADY_S else self.deaths + 1
        self.process = None
        if self.deaths > RESTARTS_MAX:
            _log.error("worker %d ended %d times in a row, and is given up", self.number, self.deaths)
            return False
        delay_s = min(RESTART_DELAY_S_MAX, RESTART_DELAY_S * 2.0 ** (self.deaths - 1))
        self.due_at = now + delay_s
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        _log.warning("worker %d ended %s; it starts again in %.1f s", self.number, how, delay_s)
        return True


def supervise(workers: Sequence[WorkerProcess], *, drain_timeout_s: float) -> bool:
    """Keep workers running until SIGTERM or SIGINT; then let them drain, and kill what still runs after the timeout.

    Returns:
        Whether all ended well: none was given up or killed, and all left with code 0.
    """
    stop = threading.Event()
    handlers = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    healthy = True
    try:
        while healthy and not stop.is_set():
            # Every worker is attended to, also after one that is given up.
            kept = [worker.restart_if_needed() for worker in workers]
            healthy = all(kept)
            stop.wait(LOOK_S)
    finally:
        healthy = _drain(workers, drain_timeout_s) and healthy
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return healthy


def _drain(workers: Sequence[WorkerProcess], timeout_s: float) -> bool:
    running = [worker.process for worker in workers if worker.process is not None]
    for process in running:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    healthy = True
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.error("worker process %d did not drain within %g s, and is killed", process.pid, timeout_s)
            process.kill()
            process.wait()
        healthy = process.returncode == 0 and healthy
    return healthy
