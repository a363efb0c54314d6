"""`choreo run`: services, running until SIGTERM.

Arguments and the choice between one process and several live here; running is `launch`'s, and keeping several
processes running `supervisor`'s. Compose files, init systems and people call it.
"""

import os
import signal
import sys
import threading
import time
from contextlib import closing

import click

from choreo import launch
from choreo.cli.brokers import Brokers, broker_options, connect
from choreo.cli.command_group import EXIT_PROBLEMS
from choreo.cli.output import json_option, log_to_stderr, note
from choreo.cli.supervisor import WorkerProcess, supervise
from choreo.cli.target import load, targets_argument
from choreo.service import declarations

PARENT_VARIABLE = "CHOREO_WORKER_PARENT"
PARENT_CHECK_S = 1.0
PORT_MAX = 65_535
WORKERS_MAX = 256


@click.command()
@targets_argument
@click.option(
    "-w", "--workers", type=click.IntRange(1, WORKERS_MAX), default=1, show_default=True, help="Processes to run."
)
@click.option(
    "--health",
    metavar="[HOST]:PORT",
    help="Serve /healthz and /readyz here; of several workers each takes the next port.",
)
@click.option("--delivery", type=click.Choice(["exactly_once", "at_least_once"]), help="How outputs are committed.")
@click.option("--instance", help="Stable identity of this process; the first free slot on this host unless given.")
@click.option("--apply-topics", is_flag=True, help="Create the topics that are missing, then start.")
@broker_options
@json_option
def run(
    targets: tuple[str, ...],
    workers: int,
    health: str | None,
    delivery: str | None,
    instance: str | None,
    apply_topics: bool,
    brokers: Brokers,
    as_json: bool,
) -> None:
    """Run the services of every TARGET until SIGTERM or Ctrl-C; then finish what is in flight, commit and leave.

    The same command again, here or on another host, shares the work. --json writes the log as JSON lines.
    """
    settings = brokers.settings(delivery=delivery, instance=instance)
    address = address_of(health) if health is not None else None
    log_to_stderr(settings.log_level, as_json=as_json)
    services = load(targets)

    if apply_topics or workers > 1:
        # With several workers a check before they start reports once what each of them would report.
        prepare = launch.apply_topics if apply_topics else launch.check_topics
        with closing(connect(settings)) as transport:
            for spec in prepare(declarations(*services), transport, settings) or ():
                note(f"created topic {spec.name} with {spec.partitions} partitions")
    if workers == 1:
        _end_with_parent()
        launch.run(*services, settings=settings, health=address)
        return

    arguments = [*targets, *brokers.arguments()]
    arguments += ["--delivery", delivery] if delivery is not None else []
    arguments += ["--json"] if as_json else []
    started = [
        WorkerProcess(
            number=number,
            command=[sys.executable, "-m", "choreo", "run", *arguments, *_own_arguments(number, instance, address)],
            environment=os.environ | {PARENT_VARIABLE: str(os.getpid())},
        )
        for number in range(workers)
    ]
    if not supervise(started, drain_timeout_s=settings.drain_timeout_s):
        raise click.exceptions.Exit(EXIT_PROBLEMS)


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of `[HOST]:PORT`; a port alone will do.

    Raises:
        click.UsageError: If it is neither.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > PORT_MAX:
        raise click.UsageError(f"--health {text} is not [HOST]:PORT, such as :9000")
    return host.strip("[]"), int(port)


def _own_arguments(number: int, instance: str | None, address: tuple[str, int] | None) -> list[str]:
    """Return the arguments that no two workers may share."""
    arguments = [] if instance is None else ["--instance", f"{instance}-{number}"]
    return arguments + ([] if address is None else ["--health", f"{address[0]}:{address[1] + number}"])


def _end_with_parent() -> None:
    """End this process when the supervisor that started it is gone, even if that was killed."""
    parent = int(os.environ.get(PARENT_VARIABLE, "0"))
    if not parent:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
