"""The command line: arguments and printing.

The root command and the table of its sub-commands live here, one module a command group; what the commands do does
not. `choreo` and `python -m choreo.cli` call `main`. A command's module is imported when it is run, so that help is
instant.
"""

import click

from choreo.cli.group import Lazy, LazyGroup

__all__ = ["main"]

_COMMANDS = {
    "demo": Lazy("choreo.cli.demo", "demo", "Watch orders flow through five services, on an embedded broker."),
    "run": Lazy("choreo.cli.run", "run", "Run services until SIGTERM."),
    "topics": Lazy("choreo.cli.topics", "topics", "Plan or create the topics that services need."),
    "publish": Lazy("choreo.cli.publish", "publish", "Publish an event: start a saga, or reach a running one."),
    "describe": Lazy("choreo.cli.describe", "describe", "Print what services declare."),
    "check": Lazy("choreo.cli.check", "check", "Check services, each and together, before anything runs."),
    "verify": Lazy("choreo.cli.verify", "verify", "Go through every run of services, before any of them runs."),
    "graph": Lazy("choreo.cli.graph", "graph", "Draw services: Mermaid, DOT, SVG, text; or write AsyncAPI."),
    "replay": Lazy("choreo.cli.replay", "replay", "Take recorded sagas through today's code, before a deploy."),
    "schema": Lazy("choreo.cli.schema", "schema", "Write or check the Avro schema of each event."),
    "track": Lazy("choreo.cli.track", "track", "Run the tracker: follow the topics into a store."),
    "sagas": Lazy("choreo.cli.sagas", "sagas", "See where sagas stand, from the tracker's store."),
    "parked": Lazy("choreo.cli.parked", "parked", "See the steps that wait for a person; retry or resolve them."),
    "dlq": Lazy("choreo.cli.dlq", "dlq", "See the records that could not be read; give them another chance."),
    "events": Lazy("choreo.cli.events", "events", "Read events from the topics, decoded."),
}


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's form
    if wanted and not context.resilient_parsing:
        from choreo.cli.version import version

        click.echo(f"choreo {version()}")
        context.exit()


@click.group(
    cls=LazyGroup,
    commands_later=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def main() -> None:
    """Choreography-based sagas on Kafka: typed functions, events in, events out.

    TARGET is module:attribute, a module (every service in it) or a folder; the current directory is importable.
    Exit codes: 0 fine, 1 problems found, 2 wrong usage.
    """
