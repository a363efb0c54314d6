"""`choreo graph`: services as a picture, or as a contract for other tools.

Arguments and choosing the form live here; drawing does not (`diagram`, `drawing`, `asyncapi`). It needs no
broker.
"""

import json
from dataclasses import asdict
from typing import Any

import click

from choreo import diagram, svg
from choreo.asyncapi import asyncapi
from choreo.choreography import Choreography
from choreo.cli.output import console, json_option, print_json
from choreo.cli.target import load_with_manifests, targets_argument
from choreo.diagram import Picture
from choreo.manifest import Manifest
from choreo.service import declarations


@click.command()
@targets_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "dot", "svg", "text", "asyncapi"]),
    default="mermaid",
    show_default=True,
    help="mermaid for Markdown, dot for Graphviz, svg for a browser, text for here, asyncapi for AsyncAPI 3 in JSON.",
)
@json_option
def graph(targets: tuple[str, ...], form: str, as_json: bool) -> None:
    """Draw the choreography of every TARGET together; --json prints it as data.

    A TARGET may also be a file of manifests, as `choreo describe --json` prints them: a name that ends in .json, or -
    for standard input.
    """
    services, beside = load_with_manifests(targets)
    manifests = [*(Manifest.of(each) for each in declarations(*services)), *beside]
    if form == "asyncapi":
        click.echo(json.dumps(asyncapi(manifests), indent=2, ensure_ascii=False))
    elif as_json:
        print_json(_data(Choreography(manifests)))
    elif form == "text":
        click.echo(diagram.text(Choreography(manifests), coloured=console().color_system is not None), nl=False)
    else:
        drawers = {"mermaid": diagram.mermaid, "dot": diagram.dot, "svg": svg.svg}
        click.echo(drawers[form](Choreography(manifests)), nl=False)


def _data(choreography: Choreography) -> dict[str, Any]:
    """Return what a picture shows, for programs that draw their own. Untyped because it is JSON."""
    picture = Picture(choreography)
    return {
        "services": picture.services,
        "sagas": [
            {"owner": owned.owner, **owned.manifest.model_dump(mode="json")} for owned in choreography.sagas.values()
        ],
        "steps": [
            {
                "name": each.name,
                "service": each.service,
                "kind": each.handler.kind,
                "column": picture.columns[each.name],
            }
            for each in picture.steps
        ],
        "events": [
            {"name": event, "label": picture.label(event), "kind": picture.kind(event)} for event in picture.events
        ],
        "arrows": [asdict(arrow) for arrow in picture.arrows],
    }
