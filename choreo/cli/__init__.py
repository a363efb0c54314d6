"""The command line: arguments and printing.

The root command and the table of its commands live here; each command is a module of `choreo.cli.commands`, imported
when it runs, so that help is instant. `choreo` and `python -m choreo` call `main`.
"""

import click

from choreo.cli.command_group import LazyGroup

__all__ = ["main"]

DISTRIBUTION = "choreo-kafka"
_COMMANDS = {
    "demo": "Watch orders flow through five services, on an embedded broker.",
    "run": "Run services until SIGTERM.",
    "topics": "Plan or create the topics that services need.",
    "publish": "Publish an event: start a saga, or reach a running one.",
    "describe": "Print what services declare.",
    "check": "Check services, each and together, before anything runs.",
    "verify": "Go through every run of services, before any of them runs.",
    "graph": "Draw services: Mermaid, DOT, SVG, text; or write AsyncAPI.",
    "replay": "Run today's code over recorded sagas, before a deploy.",
    "schema": "Write or check the Avro schema of each event.",
    "track": "Run the tracker: follow the topics into a store.",
    "sagas": "See where sagas stand, from the tracker's store.",
    "parked": "See the steps that wait for a person; retry or resolve them.",
    "dlq": "See the records that could not be read; send them back.",
    "events": "Read events from the topics, decoded.",
}


@click.group(
    cls=LazyGroup,
    help_of=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None},
)
@click.version_option(package_name=DISTRIBUTION, prog_name="choreo", message="%(prog)s %(version)s")
def main() -> None:
    """Choreography-based sagas on Kafka: typed functions, events in, events out.

    TARGET is module:attribute, a module (every service in it) or a folder; the current directory is importable.
    Exit codes: 0 fine, 1 problems found, 2 wrong usage.
    """
