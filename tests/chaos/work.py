"""What a worker runs: `choreo`, and on SIGUSR1 it says where each of its threads is."""

import faulthandler
import signal

from choreo.cli import main


def work() -> None:
    """Run `choreo` with the arguments of this process."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    main(prog_name="choreo")


if __name__ == "__main__":
    work()
