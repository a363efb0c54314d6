"""`choreo topics plan|apply`: the topics that services need.

Arguments and printing live here; which topics, and whether those that exist will do, is `launch`'s. No other command
creates topics unless a flag says so.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict

import click

from choreo import launch
from choreo.cli.brokers import Brokers, broker_options, connect
from choreo.cli.command_group import EXIT_PROBLEMS, bundle
from choreo.cli.output import json_option, note, print_json, print_table
from choreo.cli.target import load, targets_argument
from choreo.service import declarations
from choreo.settings import Settings
from choreo.transport import TopicSpec


def _settings(brokers: Brokers, partitions: int | None, replication: int | None) -> Settings:
    return brokers.settings(partitions=partitions, replication=replication)


_settings_options = bundle(
    "settings",
    _settings,
    click.option("--partitions", type=click.IntRange(1), help="Partitions of new topics."),
    click.option("--replication", type=click.IntRange(1), help="Copies of new topics."),
    broker_options,
)


@click.group()
def topics() -> None:
    """Plan or create the topics that services need."""


@topics.command()
@targets_argument
@_settings_options
@json_option
def plan(targets: tuple[str, ...], settings: Settings, as_json: bool) -> None:
    """Say which topics are missing or do not fit. Exit code 1 if something is to be done."""
    declared = declarations(*load(targets))
    with closing(connect(settings)) as transport:
        missing, problems = launch.plan_topics(declared, transport, settings)
    if as_json:
        print_json({"create": [_plain(spec) for spec in missing], "problems": [asdict(each) for each in problems]})
    else:
        _print("create", missing)
        for problem in problems:
            note(str(problem))
        if not missing and not problems:
            note("All topics exist.")
    if missing or problems:
        raise click.exceptions.Exit(EXIT_PROBLEMS)


@topics.command()
@targets_argument
@_settings_options
@json_option
def apply(targets: tuple[str, ...], settings: Settings, as_json: bool) -> None:
    """Create the topics that are missing; those that exist stay as they are."""
    declared = declarations(*load(targets))
    with closing(connect(settings)) as transport:
        created = launch.apply_topics(declared, transport, settings)
    if as_json:
        print_json({"created": [_plain(spec) for spec in created]})
        return
    _print("created", created)
    if not created:
        note("All topics exist.")


def _plain(spec: TopicSpec) -> dict[str, object]:
    return spec._asdict() | {"config": dict(spec.config)}


def _print(action: str, specs: Sequence[TopicSpec]) -> None:
    rows = [
        (action, name, partitions, replication, " ".join(f"{key}={value}" for key, value in sorted(config.items())))
        for name, partitions, replication, config in specs
    ]
    if rows:
        titles = ["", "topic", "partitions", "replication", "config"]
        print_table(titles, rows, numbers=("partitions", "replication"))
