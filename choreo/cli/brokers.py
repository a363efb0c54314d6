"""The options that say which brokers, and the settings that follow from them.

The shared flags, the command file and making `Settings` and a transport of them live here; what is done with brokers
does not. Every command that talks to Kafka is decorated with `broker_options`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from choreo.cli import client_properties
from choreo.cli.command_group import EXIT_USAGE, CommandFailed, bundle
from choreo.settings import Settings, setting_problems
from choreo.transport import Transport


@dataclass(frozen=True, slots=True)
class Brokers:
    """What the command line said about brokers: the flags of `broker_options`."""

    bootstrap_server: str | None = None
    command_config: str | None = None
    properties: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the same as arguments, for worker processes."""
        result = [] if self.bootstrap_server is None else ["--bootstrap-server", self.bootstrap_server]
        result += [] if self.command_config is None else ["--command-config", self.command_config]
        return result + [part for each in self.properties for part in ("-X", each)]

    def settings(self, **named: Any) -> Settings:
        """Return the settings, flags before all else; of `named`, which pydantic checks, None stands for no flag.

        Raises:
            CommandFailed: With exit code 2, if a value cannot be.
        """
        kafka: dict[str, str] = {}
        if self.command_config is not None:
            kafka |= client_properties.read(Path(self.command_config))
        for each in self.properties:
            name, equals, value = each.partition("=")
            if not equals or not name.strip():
                raise click.UsageError(f"-X {each} is not name=value")
            kafka |= client_properties.translated({name.strip(): value}, f"-X {name}")
        given = {name: value for name, value in named.items() if value is not None}
        if self.bootstrap_server is not None:
            given["bootstrap_servers"] = self.bootstrap_server
            kafka.pop("bootstrap.servers", None)
        return read_settings(kafka=kafka, **given)


def read_settings(**given: Any) -> Settings:
    """Return the settings. `given` is untyped because pydantic checks it.

    Raises:
        CommandFailed: With exit code 2, if a value cannot be.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        raise CommandFailed([str(problem) for problem in setting_problems(error)], EXIT_USAGE) from None


def connect(settings: Settings) -> Transport:
    """Return the way to the brokers that the settings name; the caller closes it."""
    # Help, and commands without brokers, need no client library: loading it takes a twentieth of a second.
    from choreo.kafka import KafkaTransport  # noqa: PLC0415

    return KafkaTransport(settings.kafka_config())


broker_options = bundle(
    "brokers",
    Brokers,
    click.option("--bootstrap-server", metavar="HOST:PORT", help="Brokers to ask first, joined by commas."),
    click.option(
        "--command-config",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        help="A client.properties file, as Kafka's own tools take it.",
    ),
    click.option(
        "-X",
        "--command-property",
        "properties",
        multiple=True,
        metavar="NAME=VALUE",
        help="A client property; may be given several times.",
    ),
)
"""Gives a command the flags of Kafka's own tools; it gets them as `brokers`, a `Brokers`."""
