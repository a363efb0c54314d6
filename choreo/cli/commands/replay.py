"""`choreo replay`: today's code run over recorded sagas, before it is deployed.

Arguments and the two forms of the report live here; reading sagas and finding what differs does not (`replay`). It
writes nothing, joins no group and calls no handler that uses a resource.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Any

import click

from choreo.cli.brokers import Brokers, broker_options, connect
from choreo.cli.command_group import EXIT_PROBLEMS, CommandFailed
from choreo.cli.output import json_option, note, print_json, printable
from choreo.cli.target import load, targets_argument
from choreo.replay import SAGAS_MAX, Difference, Recording, ReplayReport, SagaReplay, recorded, replayed
from choreo.service import Service


@click.command()
@targets_argument
@click.option("--saga-id", "saga_ids", multiple=True, help="This saga, ended or not; may be given several times.")
@click.option("--type", "saga_type", help="Sagas of this type only.")
@click.option(
    "--limit", type=click.IntRange(1, SAGAS_MAX), default=100, show_default=True, help="So many that ended last."
)
@click.option("--service", "names", multiple=True, help="Only this one of the services; may be given several times.")
@click.option(
    "--uncalled",
    multiple=True,
    metavar="SERVICE.HANDLER",
    help="Do not call this handler: it reaches the outside world without a resource.",
)
@click.option("--store", metavar="URL", help="Read a tracker's store, such as sqlite:///tracker.db, not the topics.")
@broker_options
@json_option
def replay(
    targets: tuple[str, ...],
    names: tuple[str, ...],
    uncalled: tuple[str, ...],
    store: str | None,
    brokers: Brokers,
    as_json: bool,
    **wanted: Any,  # The arguments of `recorded`.
) -> None:
    """Run today's code of every TARGET over recorded sagas, and print what it would do otherwise.

    Nothing is emitted. Handlers that take only events, Context and State are called; those that use a resource are not,
    and are assumed to do what they did. Exit code 1 if anything differs, or if there is nothing to replay.
    """
    if store is not None and brokers != Brokers():
        raise click.UsageError("Say either --store or where the brokers are.")
    services = _chosen(load(targets), names)
    recording = _recorded(store, brokers, wanted)
    if missing := [each for each in wanted["saga_ids"] if each not in {saga.saga_id for saga in recording.sagas}]:
        raise CommandFailed([f"Nothing is recorded of saga {each}." for each in missing])
    if not recording.sagas:
        raise CommandFailed(["There is nothing to replay: no such saga has ended there."])

    report = replayed(services, recording, uncalled=uncalled)
    differ = sum(bool(each.differences) for each in report.sagas)
    (_print_json if as_json else _print)(report, differ)
    if differ:
        raise click.exceptions.Exit(EXIT_PROBLEMS)


def _chosen(services: list[Service], names: tuple[str, ...]) -> list[Service]:
    known = [each.name for each in services]
    if unknown := [each for each in names if each not in known]:
        raise click.UsageError(f"No TARGET has a service {', '.join(unknown)}. There are: {', '.join(known)}.")
    return [each for each in services if not names or each.name in names]


def _recorded(store: str | None, brokers: Brokers, wanted: Mapping[str, Any]) -> Recording:
    if store is not None:
        return recorded(store, **wanted)
    with closing(connect(brokers.settings())) as transport:
        return recorded(transport, **wanted)


def _print(report: ReplayReport, differ: int) -> None:
    for each in report.sagas:
        saga = each.saga
        names = "  ".join(text for text in (saga.saga_type, saga.business_key, saga.saga_id) if text)
        word = click.style("≠ differs", fg="red") if each.differences else click.style("✔ same   ", fg="green")
        click.echo(f"{word}  {printable(names)}  {len(saga.events)} events")
        for difference in each.differences:
            _print_difference(difference)
    for step, why in report.uncalled.items():
        note(f"{step} was not called, for {why}: it is assumed to do what it did then.")
    note(f"Sagas through {', '.join(report.services)}: {len(report.sagas) - differ} the same, {differ} different.")


def _print_difference(difference: Difference) -> None:
    click.echo(f"    {click.style(difference.change, bold=True)}  {printable(difference.text)}")
    for field in difference.fields:
        click.echo(f"        {printable(str(field))}")
    if difference.fix:
        click.echo(f"        fix  {difference.fix}")


def _print_json(report: ReplayReport, differ: int) -> None:
    print_json(
        {
            "sagas": [_plain(each) for each in report.sagas],
            "services": report.services,
            "uncalled": report.uncalled,
            "same": len(report.sagas) - differ,
            "differ": differ,
        }
    )


def _plain(replayed: SagaReplay) -> dict[str, Any]:
    saga = replayed.saga
    fields = [{**asdict(each), "fields": [field._asdict() for field in each.fields]} for each in replayed.differences]
    return {
        "saga_id": saga.saga_id,
        "saga_type": saga.saga_type,
        "business_key": saga.business_key,
        "events": len(saga.events),
        "differences": fields,
    }
