"""`choreo describe`: what services declare, in words or JSON.

Printing manifests lives here; what is in them does not. It needs no broker.
"""

import click

from choreo.cli.output import console, json_option, print_json, print_table
from choreo.cli.target import load, targets_argument
from choreo.event import short
from choreo.manifest import HandlerManifest, Manifest
from choreo.records import dlq_topic, memory_topic
from choreo.service import declarations


@click.command()
@targets_argument
@json_option
def describe(targets: tuple[str, ...], as_json: bool) -> None:
    """Print the handlers, sagas, events and topics of every TARGET. --json prints the manifests."""
    manifests = [Manifest.of(each) for each in declarations(*load(targets))]
    if as_json:
        print_json([manifest.model_dump(mode="json") for manifest in manifests])
        return
    for number, manifest in enumerate(manifests):
        if number:
            click.echo()
        _print(manifest)


def _print(manifest: Manifest) -> None:
    out = console()
    out.print(f"[bold]{manifest.service}[/bold]  version {manifest.service_version}")
    for saga in manifest.sagas:
        ends = f"completes with {_any(saga.completes)}" + (f", fails with {_any(saga.fails)}" if saga.fails else "")
        key = f", key {saga.key}" if saga.key else ""
        out.print(f"owns saga [bold]{saga.name}[/bold]: starts with {short(saga.starts)}, {ends}{key}")
    for name, by in manifest.publishes.items():
        out.print(f"publishes {short(name)} from outside" + (f", by {by}" if by else ""))
    if manifest.handlers:
        click.echo()
        print_table(
            ["handler", "kind", "takes", "emits", "place"],
            [
                (each.name, each.kind, _takes(each), _any(each.emits) or "nothing", each.place)
                for each in manifest.handlers
            ],
        )
    topics = sorted({event.topic for event in manifest.events.values()})
    click.echo()
    out.print(
        f"event topics: {', '.join(topics)}; its own: {memory_topic(manifest.service)}, {dlq_topic(manifest.service)}"
    )


def _takes(handler: HandlerManifest) -> str:
    if handler.original:
        original = _any(handler.original) + (" or nothing" if handler.original_optional else "")
        extras = "".join(f" + {_any(types)}" for types in handler.extras)
        return f"{_any(handler.causes)} → undoes {original}{extras}"
    unless = f" unless {_any(handler.unless)}" if handler.unless else ""
    return " + ".join(_any(types) for types in handler.waits_for) + unless


def _any(names: list[str]) -> str:
    return " | ".join(short(name) for name in names)
