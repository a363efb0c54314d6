"""`choreo topics plan|apply`: the topics that services need.

Arguments and printing live here; which topics, and whether those that exist will do, is `launch`'s. No other command
creates topics without being told to.
"""

from collections.abc import Sequence

import click

from choreo.cli.brokers import Brokers, broker_options, connect
from choreo.cli.command_group import EXIT_PROBLEMS
from choreo.cli.output import json_option, note, print_json, print_table
from choreo.cli.target import load
from choreo.errors import Problem
from choreo.transport import TopicSpec


@click.group()
def topics() -> None:
    """Plan or create the topics that services need."""


def _row(spec: TopicSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "partitions": spec.partitions,
        "replication": spec.replication,
        "config": dict(spec.config),
    }


def _print_specs(action: str, specs: Sequence[TopicSpec]) -> None:
    print_table(
        ["", "topic", "partitions", "replication", "config"],
        [
            (
                action,
                spec.name,
                spec.partitions,
                spec.replication,
                " ".join(f"{name}={value}" for name, value in sorted(spec.config.items())),
            )
            for spec in specs
        ],
        numbers=("partitions", "replication"),
    )


def _problem(problem: Problem) -> dict[str, str]:
    return {"code": problem.code, "message": problem.message, "fix": problem.fix, "place": problem.place}


@topics.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option("--partitions", type=click.IntRange(1), help="Partitions of new topics.")
@click.option("--replication", type=click.IntRange(1), help="Copies of new topics.")
@broker_options
@json_option
def plan(
    targets: tuple[str, ...],
    partitions: int | None,
    replication: int | None,
    brokers: Brokers,
    as_json: bool,  # noqa: FBT001 - click's form
) -> None:
    """Say which topics are missing or do not fit. Exit code 1 if something is to be done."""
    from choreo import launch
    from choreo.service import declarations

    declared = declarations(*load(targets))
    settings = brokers.settings(partitions=partitions, replication=replication)
    transport = connect(settings)
    try:
        missing, problems = launch.plan_topics(declared, transport, settings)
    finally:
        transport.close()
    if as_json:
        print_json({"create": [_row(spec) for spec in missing], "problems": [_problem(each) for each in problems]})
    elif missing:
        _print_specs("create", missing)
    if not as_json:
        for problem in problems:
            note(str(problem))
        if not missing and not problems:
            note("All topics are there.")
    if missing or problems:
        raise click.exceptions.Exit(EXIT_PROBLEMS)


@topics.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option("--partitions", type=click.IntRange(1), help="Partitions of new topics.")
@click.option("--replication", type=click.IntRange(1), help="Copies of new topics.")
@broker_options
@json_option
def apply(
    targets: tuple[str, ...],
    partitions: int | None,
    replication: int | None,
    brokers: Brokers,
    as_json: bool,  # noqa: FBT001 - click's form
) -> None:
    """Create the topics that are missing; those that exist stay as they are."""
    from choreo import launch
    from choreo.service import declarations

    declared = declarations(*load(targets))
    settings = brokers.settings(partitions=partitions, replication=replication)
    transport = connect(settings)
    try:
        created = launch.apply_topics(declared, transport, settings)
    finally:
        transport.close()
    if as_json:
        print_json({"created": [_row(spec) for spec in created]})
    elif created:
        _print_specs("created", created)
    else:
        note("All topics are there.")
