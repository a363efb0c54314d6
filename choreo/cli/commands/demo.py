"""`choreo demo`: the order example, flowing.

Finding the example, whether installed from a wheel or in the source tree, lives here; the demo is the example's own.
"""

import os
from importlib import import_module
from importlib.util import find_spec

import click

from choreo.cli.command_group import CommandFailed


@click.command()
@click.option("--seconds", type=click.FloatRange(min=0), help="How long to place orders; until Ctrl-C unless given.")
@click.option("--rate", type=click.FloatRange(min=0), default=20.0, show_default=True, help="Orders a second.")
def demo(seconds: float | None, rate: float) -> None:
    """Watch orders flow through five services, on a broker that comes with choreo.

    Ctrl-C stops placing, waits for what is under way, and adds up what became of every order.
    DEMO_SECONDS says the same as --seconds.
    """
    if seconds is None and (wanted := os.environ.get("DEMO_SECONDS")):
        try:
            seconds = float(wanted)
        except ValueError:
            raise click.UsageError(f"DEMO_SECONDS={wanted} is no number of seconds.") from None
    code = import_module(_home()).main(seconds=seconds, rate=rate)
    raise click.exceptions.Exit(code)


def _home() -> str:
    """Return the package of the demo; the wheel has it within the package, the source tree beside it."""
    for parent in ("choreo.examples", "services"):
        # find_spec imports the parent, and raises where it is missing.
        if find_spec(parent) and find_spec(f"{parent}.demo"):
            return f"{parent}.demo"
    raise CommandFailed(["The example is not installed here: it is in the wheel, and in the source tree as services/."])
