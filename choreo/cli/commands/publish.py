"""`choreo publish`: events from a terminal or a pipe.

Finding the event class, reading JSON and printing saga ids live here; ids and waiting are the publisher's. It is the
quickest way to start a saga by hand.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import click
from pydantic import ValidationError

from choreo.cli.brokers import Brokers, broker_options
from choreo.cli.command_group import CommandFailed, suggestion
from choreo.cli.output import counted, json_option, note, print_json
from choreo.cli.target import load
from choreo.event import Event
from choreo.publisher import Publisher, Where
from choreo.service import Declaration, declarations

CHUNK_EVENTS = 1000


@click.command()
@click.argument("target")
@click.argument("event")
@click.argument("body", metavar="JSON|-")
@click.option("--saga-id", help="The running saga that the event goes into.")
@click.option("--key", help="Business key of that saga, instead of its id.")
@click.option("--saga", help="Saga type that --key belongs to, where several could be meant.")
@click.option("--branch", help="Branch of that saga.")
@click.option("--generation", type=click.IntRange(1), help="2 repeats a finished saga of the same key.")
@click.option("--event-id", help="The event's identity; the same again is the same event.")
@broker_options
@json_option
def publish(target: str, event: str, body: str, brokers: Brokers, as_json: bool, **given: str | int | None) -> None:
    """Publish EVENT with the fields in JSON, and print its saga's id once the brokers have it.

    EVENT is a class name such as OrderPlaced, or its full name. With - in place of JSON, one event a line is read from
    standard input.
    """
    services = load([target])
    kind = _event_class(event, declarations(*services), target)
    where: Where = {name: value for name, value in given.items() if value is not None}  # type: ignore[assignment]
    lines = enumerate(sys.stdin, 1) if body == "-" else iter([(0, body)])
    count = 0
    with Publisher(*services, brokers.settings()) as publisher:
        events = _events(kind, lines)
        while chunk := list(islice(events, CHUNK_EVENTS)):
            for each in publisher.publish_many(chunk, **where):
                print_json({"saga_id": each}) if as_json else click.echo(each)
            count += len(chunk)
    if body == "-":
        note(f"published {counted(count, 'event')}")


def _event_class(name: str, declared: Sequence[Declaration], target: str) -> type[Event]:
    found = {kind for each in declared for kind in each.event_types if name in (kind.__name__, kind.__choreo_type__)}
    if len(found) == 1:
        return found.pop()
    if found:
        full = " or ".join(sorted(kind.__choreo_type__ for kind in found))
        raise click.UsageError(f"{name} could be {full}: give the full name.")
    known = sorted({kind.__name__ for each in declared for kind in each.event_types})
    hint = suggestion(name, known) or f" There are: {', '.join(known)}."
    raise click.UsageError(f"The services in {target} know no event {name}.{hint}")


def _events(kind: type[Event], lines: Iterable[tuple[int, str]]) -> Iterator[Event]:
    for number, line in lines:
        if line.strip():
            yield _event(kind, line, f"line {number}: " if number else "")


def _event(kind: type[Event], text: str, place: str) -> Event:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        fields = ", ".join(kind.model_fields)
        lines = [
            f"{place}{'.'.join([kind.__name__, *map(str, each['loc'])])}: {each['msg']}"
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise CommandFailed([*lines, f"{kind.__name__} has the fields {fields}"]) from None
