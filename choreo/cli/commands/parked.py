"""`choreo parked list|show|retry|resolve`: steps that wait for a person.

Arguments, printing and sending live here; which steps wait, and the commands, are `parked_steps`'. The service whose
step it is carries a command out, or refuses it.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import click

from choreo.cli.brokers import Brokers, broker_options, connect
from choreo.cli.command_group import EXIT_USAGE, CommandFailed, bundle, suggestion
from choreo.cli.confirmation import SAMPLE_MAX, Confirmation, confirmation_options
from choreo.cli.output import counted, json_option, moment, note, print_json, print_table, printable
from choreo.cli.paced_sender import rate_option, require, send
from choreo.cli.parked_steps import ParkedStep, StepFilter, all_parked, command_for, history, may_emit, parked_steps
from choreo.cli.tracker_store import announced, existing_saga, open_tracker, store_option, type_option
from choreo.records import COMMANDS, Command
from choreo.tracker import NoteView, SagaView, Tracker, plain

_NOTHING = "No step waits for a person."

_handler_options = (
    click.option("--service", help="Steps of this service only."),
    click.option("--handler", help="Steps of this handler only."),
)


_filter_options = bundle("wanted", StepFilter, *_handler_options)


@click.group()
def parked() -> None:
    """See the steps that wait for a person, and retry or resolve them."""


@parked.command("list")
@_filter_options
@click.option("--type", "saga_type", help="Steps of sagas of this type only.")
@store_option
@json_option
def list_parked(wanted: StepFilter, saga_type: str | None, store: str | None, as_json: bool) -> None:
    """List the steps that wait for a person, those of the newest saga first."""
    with closing(open_tracker(store)) as tracker:
        steps = all_parked(tracker, saga_type, wanted)
    if as_json:
        print_json({"items": [step.plain() for step in steps]})
    elif steps:
        _print(steps)
    else:
        note(_NOTHING)


def _print(steps: Sequence[ParkedStep]) -> None:
    print_table(
        ["saga id", "key", "step", "branch", "since", "attempts", "error"],
        [
            (
                step.saga_id,
                step.business_key,
                f"{step.service}.{step.handler}",
                step.branch,
                moment(step.since),
                step.attempts or "",
                printable(step.first_line),
            )
            for step in steps
        ],
        numbers=("attempts",),
    )


@parked.command()
@click.argument("saga")
@type_option
@store_option
@json_option
def show(saga: str, saga_type: str | None, store: str | None, as_json: bool) -> None:
    """Show the parked steps of one saga, what each may be resolved with, and who has asked for what."""
    with closing(open_tracker(store)) as tracker:
        view = existing_saga(tracker, saga, saga_type)
    manifests = announced(store)
    steps = [(step, may_emit(step, view, manifests)) for step in parked_steps(view)]
    past = history(view)
    if as_json:
        print_json(
            {
                "saga_id": view.saga_id,
                "saga_type": view.saga_type,
                "business_key": view.business_key,
                "state": str(view.state),
                "steps": [step.plain() | {"resolve_with": may} for step, may in steps],
                "history": plain(past),
            }
        )
        return
    title = click.style(view.saga_type or "saga of unknown type", bold=True)
    click.echo("  ".join(part for part in (title, view.business_key, view.saga_id, str(view.state)) if part))
    for step, may in steps:
        _print_whole(step, may, view)
    if past:
        click.echo()
        _print_history(past)
    if not steps:
        note(_NOTHING)


def _print_whole(step: ParkedStep, may: Sequence[str] | None, view: SagaView) -> None:
    names = {event.event_id: event.type for event in view.events}
    trigger = names.get(step.trigger, step.event_type) if step.trigger else f"a join, made ready by {step.event_type}"
    click.echo()
    click.echo(click.style(step.name, bold=True) + f"  parked since {moment(step.since)}")
    if step.attempts:
        click.echo(f"  attempts      {step.attempts}")
    click.echo(f"  runs for      {trigger}" + (f"  {step.trigger}" if step.trigger else ""))
    known = "unknown: no service has announced what it emits" if may is None else ", ".join([*may, "nothing"])
    click.echo(f"  resolve with  {known}")
    click.echo("  error")
    for line in step.error.splitlines():
        click.echo(f"    {printable(line)}")


def _print_history(past: Sequence[NoteView]) -> None:
    print_table(
        ["at", "what", "step", "by", "why", ""],
        [
            (
                moment(each.at),
                each.kind,
                ".".join(part for part in (each.service, each.handler) if part),
                each.actor,
                each.reason,
                printable(each.error.partition("\n")[0]) or each.event_type,
            )
            for each in past
        ],
    )


@parked.command()
@click.argument("sagas", metavar="[SAGA...]", nargs=-1)
@_filter_options
@click.option("--all", "everything", is_flag=True, help="Every step that is parked.")
@click.option("--type", "saga_type", help="Of sagas of this type; alone it chooses all of their steps.")
@rate_option
@confirmation_options
@store_option
@broker_options
@json_option
def retry(
    sagas: tuple[str, ...],
    wanted: StepFilter,
    everything: bool,
    saga_type: str | None,
    rate: float,
    confirmation: Confirmation,
    store: str | None,
    brokers: Brokers,
    as_json: bool,
) -> None:
    """Have parked steps tried again, from their first attempt.

    Choose them by SAGA (an id or a business key), by --service, --handler and --type, or take --all. It is safe to ask
    twice: a step that waits no more is left alone, and the journal says so.
    """
    filters = wanted != StepFilter() or (saga_type is not None and not sagas)
    if bool(sagas) + filters + everything != 1:
        raise click.UsageError("Say which steps: SAGA..., or --service, --handler and --type, or --all.")
    with closing(open_tracker(store)) as tracker:
        steps = _of(tracker, sagas, saga_type) if sagas else all_parked(tracker, saga_type, wanted)
        behind = _behind(tracker)
    commands = [command_for("retry", step, confirmation) for step in steps]
    _send(commands, steps, confirmation, brokers, rate, behind, as_json=as_json)


def _of(tracker: Tracker, sagas: Sequence[str], saga_type: str | None) -> list[ParkedStep]:
    steps: dict[ParkedStep, None] = {}
    for saga in sagas:
        found = parked_steps(existing_saga(tracker, saga, saga_type))
        if not found and len(sagas) > 1:
            note(f"{saga}: no step of it waits for a person")
        steps |= dict.fromkeys(found)
    return list(steps)


@parked.command()
@click.argument("saga")
@click.argument("payload", metavar="[JSON|-]", required=False)
@bundle(
    "wanted",
    StepFilter,
    *_handler_options,
    click.option("--branch", help="The step in this branch."),
    click.option("--trigger", help="The step that runs for this event; an event id."),
)
@click.option("--event", help="The event that the step is taken to have emitted; none unless given.")
@type_option
@confirmation_options
@store_option
@broker_options
@json_option
def resolve(
    saga: str,
    payload: str | None,
    wanted: StepFilter,
    event: str | None,
    saga_type: str | None,
    confirmation: Confirmation,
    store: str | None,
    brokers: Brokers,
    as_json: bool,
) -> None:
    """Have one parked step taken as done, with --event or with nothing emitted; the handler does not run again.

    JSON holds the fields of the event; - reads it from standard input. SAGA is an id or a business key. Where several
    of its steps are parked, --service, --handler, --branch and --trigger say which one is meant.
    """
    if payload is not None and event is None:
        raise click.UsageError("JSON is the fields of an event: say which one with --event.")
    fields = _fields(payload) if payload is not None else None
    with closing(open_tracker(store)) as tracker:
        view = existing_saga(tracker, saga, saga_type)
        behind = _behind(tracker)
    steps = [step for step in parked_steps(view) if step in wanted]
    if len(steps) > 1:
        lines = [f"{step.name}, for {step.trigger or 'a join'}: {printable(step.first_line)}" for step in steps]
        raise CommandFailed(
            [*lines, "Several steps are parked: choose one with --service, --handler, --branch or --trigger."],
            EXIT_USAGE,
        )
    commands = []
    for step in steps:
        kind = "" if event is None else _event_type(event, step, may_emit(step, view, announced(store)))
        commands.append(command_for("resolve", step, confirmation, event_type=kind, payload=fields))
    _send(commands, steps, confirmation, brokers, 1.0, behind, as_json=as_json)


def _fields(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(sys.stdin.read() if text == "-" else text)
        # JSON may hold lone surrogates, which no record can.
        json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"The fields of the event are no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise click.UsageError('The fields of the event are a JSON object, such as {"order_id": "17"}.')
    return fields


def _event_type(name: str, step: ParkedStep, may: Sequence[str] | None) -> str:
    """Return the full name of the event that a person means; the service has the last word on whether it fits."""
    step_name = f"{step.service}.{step.handler}"
    if may is None:
        if "." not in name:
            raise click.UsageError(f"No service has announced what {step_name} emits: give the event's full name.")
        return name
    short = {each: each.rpartition(".")[2] for each in may}
    found = [each for each in may if name in {each, short[each]}]
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(f"{name} could be {' or '.join(found)}: give the full name.")
    hint = suggestion(name, [*may, *short.values()])
    raise click.UsageError(f"{step_name} emits {' or '.join(may) or 'nothing'}, not {name}.{hint}")


def _behind(tracker: Tracker) -> list[str]:
    lag = tracker.lag()
    return [f"The tracker is {lag.records:,} records behind; other steps may be parked by now."] if lag.records else []


def _send(
    commands: Sequence[Command],
    steps: Sequence[ParkedStep],
    confirmation: Confirmation,
    brokers: Brokers,
    rate: float,
    warnings: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Preview commands about these steps, in the same order, and send them if that is confirmed."""
    if not commands:
        raise CommandFailed(["No such step waits for a person."])
    total = len(commands)
    sample = [
        (_line(command, step), command.model_dump(mode="json"))
        for command, step in zip(commands[:SAMPLE_MAX], steps, strict=False)
    ]
    words = f"{commands[0].command} {counted(total, 'parked step')}"
    if confirmation.given(words, total, sample, warnings, as_json=as_json):
        chains = (([each.to_record()], each.model_dump(mode="json")) for each in commands)
        with closing(connect(brokers.settings())) as transport:
            require(transport, [COMMANDS])
            send(transport, chains, total=total, thing="command", rate=rate, as_json=as_json)


def _line(command: Command, step: ParkedStep) -> str:
    """Return in one line what is asked about which step."""
    what = f" with {command.event_type or 'nothing'}" if command.command == "resolve" else ""
    whose = f"{step.business_key} ({step.saga_id})" if step.business_key else step.saga_id
    return f"{step.name} of {whose}{what}: {printable(step.first_line)}"
