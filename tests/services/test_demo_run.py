"""The demo itself, on its embedded broker, ended as people end it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def demo(*arguments):
    command = [sys.executable, "-m", "choreo", "demo", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def account(output):
    """Return the numbers of the first line of the account: placed, completed, failed, running."""
    found = re.search(r"(\d+) placed = (\d+) completed \+ (\d+) failed \+ (\d+) still running", output)
    assert found is not None, output
    return [int(number) for number in found.groups()]


@pytest.mark.timeout(90)
def test_ctrl_c_stops_placing_and_accounts_for_every_order():
    with demo("--rate", "40") as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if re.search(r"completed [1-9]", line):
                process.send_signal(signal.SIGINT)
                break
        output = "".join(lines) + process.stdout.read()
        errors = process.stderr.read()
        assert process.wait() == 0, output + errors
    placed, completed, failed, running = account(output)
    assert "Every order is accounted for." in output
    assert completed >= 1
    assert placed == completed + failed
    assert running == 0
    assert errors == ""


@pytest.mark.timeout(90)
def test_a_demo_for_a_time_ends_by_itself():
    with demo("--rate", "40", "--seconds", "2") as process:
        output, errors = process.communicate()
    assert (process.returncode, errors) == (0, ""), output + errors
    assert account(output)[0] > 20
