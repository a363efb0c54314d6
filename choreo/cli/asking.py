"""Commands about parked steps, on their way to the services.

Making a command, its record and asking for what is meant live here; which steps wait is `waiting`'s, and the pace
`sending`'s. `parked retry` and `parked resolve` end here.
"""

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from choreo.cli.brokers import Brokers, connect
from choreo.cli.consent import SAMPLE_MAX, Consent, Look
from choreo.cli.group import Told
from choreo.cli.output import print_json, printable
from choreo.cli.waiting import ParkedStep

if TYPE_CHECKING:
    from choreo.command import Command
    from choreo.transport import Outgoing

SOURCE = "/choreo/cli"


def command_for(asked: str, step: ParkedStep, consent: Consent, **more: Any) -> "Command":
    """Return the command that asks for a step to be repaired.

    Args:
        asked: "retry" or "resolve".
        step: The step.
        consent: Who asks, and why.
        more: `event_type` and `payload` of a resolve; untyped because pydantic checks them.
    """
    from choreo.command import Command
    from choreo.event import uuid7

    return Command.model_validate(
        {
            "command_id": uuid7(),
            "command": asked,
            "saga_id": step.saga_id,
            "service": step.service,
            "handler": step.handler,
            "branch": step.branch,
            "trigger": step.trigger,
            "actor": consent.actor,
            "reason": consent.reason,
            "at": datetime.now(UTC),
        }
        | more
    )


def ask(  # noqa: PLR0913 - the end of two commands
    commands: "Sequence[Command]",
    steps: Sequence[ParkedStep],
    consent: Consent,
    brokers: Brokers,
    rate: float,
    warnings: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Send commands, if that is what is wanted, and say so.

    Args:
        commands: What is asked, at least one.
        steps: Of which steps, in the same order.
        consent: Who asks, why, and whether it is meant.
        brokers: Where to.
        rate: Commands a second at most.
        warnings: What a person should know beforehand.
        as_json: Print each command that was sent.

    Raises:
        Told: If there are none, or the brokers refuse one.
    """
    if not commands:
        raise Told(["No such step waits for a person."])
    look = Look(
        count=len(commands),
        words=f"{commands[0].command} {len(commands):,} parked step{'s' if len(commands) != 1 else ''}",
        sample=[_line(*each) for each in zip(commands[:SAMPLE_MAX], steps, strict=False)],
        items=[each.model_dump(mode="json") for each in commands[:SAMPLE_MAX]],
        warnings=warnings,
    )
    if not consent.given(look, as_json=as_json):
        return

    from choreo.cli.sending import conclude, require, send
    from choreo.command import COMMANDS

    def told(number: int) -> None:
        if as_json:
            print_json(commands[number].model_dump(mode="json"))

    with closing(connect(brokers.settings())) as transport:
        require(transport, [COMMANDS])
        chains = [[record(each)] for each in commands]
        sent = send(transport, chains, total=len(chains), rate=rate, told=told, quiet=as_json)
    conclude(sent, len(commands), "command")


def _line(command: "Command", step: ParkedStep) -> str:
    """Say in one line what is asked about which step."""
    what = f" with {command.event_type or 'nothing'}" if command.command == "resolve" else ""
    whose = f"{step.business_key} ({step.saga_id})" if step.business_key else step.saga_id
    return f"{step.name} of {whose}{what}: {printable(step.first_line)}"


def record(command: "Command") -> "Outgoing":
    """Return a command as a record of `choreo.commands`."""
    from choreo.command import COMMANDS
    from choreo.transport import Outgoing

    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", command.command_id.encode()),
        ("ce_type", COMMANDS.encode()),
        ("ce_source", SOURCE.encode()),
        ("ce_time", command.at.astimezone(UTC).isoformat().replace("+00:00", "Z").encode()),
        ("content-type", b"application/json"),
    ]
    return Outgoing(COMMANDS, command.saga_id.encode(), command.to_bytes(), headers)
