"""`choreo dlq list|show|redrive`: records that a service could not read.

Arguments and printing live here; reading dead letters is `dead_letters`', and sending records back `paced_sender`'s.
Nothing is taken out of a service's dead letters: Kafka removes them as the topic's retention says.
"""

import base64
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import nlargest
from itertools import count

import click

from choreo.cli.brokers import Brokers, broker_options, connect
from choreo.cli.command_group import CommandFailed
from choreo.cli.confirmation import SAMPLE_MAX, Confirmation, confirmation_options
from choreo.cli.dead_letters import DeadLetter, LetterPosition, dump, original, read, text
from choreo.cli.output import counted, json_option, note, print_json, print_table, progress, span
from choreo.cli.paced_sender import rate_option, require, send
from choreo.event import uuid7
from choreo.records import JOURNAL, Note, dlq_topic, journal
from choreo.settings import Settings
from choreo.transport import Outgoing, Record, Transport

DUMP_BYTES_MAX = 512
LIMIT_DEFAULT = 50
LIMIT_MAX = 10_000


_why = click.option("--why", metavar="REASON", help="Those with this reason only, such as unknown-type.")


@click.group()
def dlq() -> None:
    """See the records that a service could not read, and give them another chance."""


def _topic(transport: Transport, service: str) -> str:
    name = dlq_topic(service)
    if name not in transport.describe([name]):
        raise CommandFailed([f"There is no topic {name}, so there are no dead letters of a service {service}."])
    return name


def _letters(records: Iterable[Record], why: str | None) -> Iterator[tuple[Record, DeadLetter]]:
    with progress("reading", None) as advance:
        for record in records:
            advance(1)
            letter = DeadLetter.of(record)
            if why is None or letter.reason == why:
                yield record, letter


@dlq.command("list")
@click.argument("service")
@_why
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, LIMIT_MAX),
    default=LIMIT_DEFAULT,
    show_default=True,
    help="At most so many, the newest.",
)
@broker_options
@json_option
def list_letters(service: str, why: str | None, limit: int, brokers: Brokers, as_json: bool) -> None:
    """List the dead letters of SERVICE, the newest first."""
    numbers = count()
    with closing(connect(brokers.settings())) as transport:
        records = read(transport, _topic(transport, service))
        newest = nlargest(limit, ((each.timestamp_ms, next(numbers), each) for _, each in _letters(records, why)))
    letters = [letter for *_, letter in newest]
    total = next(numbers)
    if as_json:
        print_json({"items": [letter.plain() for letter in letters], "count": total})
        return
    if letters:
        rows = [
            (each.position, each.was_at, each.reason, each.about("failed_at"), each.key, each.about("error"))
            for each in letters
        ]
        print_table(["position", "was at", "reason", "failed at", "key", "error"], rows)
    note((f"{len(letters):,} of " if total > len(letters) else "") + f"{total:,} dead letters")


@dlq.command()
@click.argument("service")
@click.argument("position", type=LetterPosition.parse)
@click.option("--raw", is_flag=True, help="Write the value's bytes to standard output, and nothing else.")
@broker_options
@json_option
def show(service: str, position: LetterPosition, raw: bool, brokers: Brokers, as_json: bool) -> None:
    """Show the dead letter of SERVICE at POSITION (partition:offset), with all headers. Nothing in it is masked."""
    if raw and as_json:
        raise click.UsageError("--raw and --json are two ways of printing: say one.")
    with closing(connect(brokers.settings())) as transport:
        topic = _topic(transport, service)
        record = next(read(transport, topic, [position]), None)
    if record is None:
        raise CommandFailed([f"{topic} holds no record at {position}."])
    if raw:
        click.echo(record.value or b"", nl=False)
    elif as_json:
        headers = [[name, text(value)] for name, value in record.headers]
        value = None if record.value is None else base64.b64encode(record.value).decode("ascii")
        print_json(DeadLetter.of(record).plain() | {"headers": headers, "value_base64": value})
    else:
        _print(record)


def _print(record: Record) -> None:
    letter = DeadLetter.of(record)
    click.echo(click.style(f"{record.topic} {letter.position}", bold=True) + f"  {letter.reason}")
    for title, value in (
        ("error", letter.about("error")),
        ("was at", letter.was_at),
        ("failed at", letter.about("failed_at")),
        ("key", letter.key if letter.key is not None else "(none)"),
    ):
        click.echo(f"  {title:<11}{value}")
    click.echo("headers")
    for name, header in record.headers:
        click.echo(f"  {name}: {text(header)}")
    if record.value is None:
        click.echo("no value")
        return
    more = f", the first {DUMP_BYTES_MAX} here; --raw writes all" if len(record.value) > DUMP_BYTES_MAX else ""
    click.echo(f"value of {len(record.value):,} bytes{more}")
    for line in dump(record.value, DUMP_BYTES_MAX):
        click.echo(f"  {line}")


@dlq.command()
@click.argument("service")
@click.argument("positions", metavar="[POSITION...]", type=LetterPosition.parse, nargs=-1)
@_why
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@rate_option
@confirmation_options
@broker_options
@json_option
def redrive(
    service: str,
    positions: tuple[LetterPosition, ...],
    why: str | None,
    everything: bool,
    rate: float,
    confirmation: Confirmation,
    brokers: Brokers,
    as_json: bool,
) -> None:
    """Send dead letters of SERVICE to the topic they were in, with their own bytes, key and headers.

    Choose them by POSITION (partition:offset), by --why, or take --all. It is safe to do twice: event ids stay the
    same, and who has read an event already drops it.
    """
    if bool(positions) + (why is not None) + everything != 1:
        raise click.UsageError("Say which dead letters: POSITION..., or --why REASON, or --all.")
    settings = brokers.settings()
    with closing(connect(settings)) as transport:
        topic = _topic(transport, service)
        chosen = Chosen()
        for _, letter in _letters(read(transport, topic, positions or None), why):
            chosen.add(letter, settings)
        _check(chosen, positions, topic, transport)
        total = len(chosen.positions)
        words = f"redrive {counted(total, 'dead letter')} of {service}"
        sample = [(f"{each.position} to {each.topic}: {each.why}", each.plain()) for each in chosen.sample]
        if confirmation.given(words, total, sample, chosen.warnings(settings), as_json=as_json):
            chains = _chains(transport, service, chosen.positions, confirmation)
            send(transport, chains, total=total, thing="dead letter", rate=rate, as_json=as_json)


@dataclass(slots=True)
class Chosen:
    """The dead letters to send back: where they are, and what a person should see of them.

    Attributes:
        lost: How many do not say where they were.
        old: How many failed longer ago than a service remembers an ended saga.
    """

    positions: dict[LetterPosition, None] = field(default_factory=dict)
    sample: list[DeadLetter] = field(default_factory=list)
    topics: set[str] = field(default_factory=set)
    lost: int = 0
    old: int = 0

    @property
    def left_alone(self) -> str:
        """How many cannot go back, in words."""
        return f"Left alone, for they do not say which topic they were in: {self.lost:,}."

    def add(self, letter: DeadLetter, settings: Settings) -> None:
        """Take one more."""
        if not letter.topic:
            self.lost += 1
            return
        self.positions[letter.position] = None
        self.topics.add(letter.topic)
        self.old += letter.failed_before(datetime.now(UTC) - settings.remember_for)
        if len(self.sample) < SAMPLE_MAX:
            self.sample.append(letter)

    def warnings(self, settings: Settings) -> list[str]:
        """Say what a person should know before saying yes."""
        warnings = [self.left_alone] if self.lost else []
        if self.old:
            warnings.append(
                f"Older than remember_for ({span(settings.remember_for.total_seconds())}): {self.old:,}. Services may "
                "have forgotten sagas that have ended since, and would run their steps again."
            )
        return warnings


def _check(chosen: Chosen, positions: Sequence[LetterPosition], topic: str, transport: Transport) -> None:
    if missing := [] if chosen.lost else [each for each in positions if each not in chosen.positions]:
        raise CommandFailed([f"{topic} holds no record at {each}." for each in missing])
    if not chosen.positions:
        raise CommandFailed([chosen.left_alone if chosen.lost else "There is no such dead letter."])
    require(transport, [*chosen.topics, JOURNAL])


def _chains(
    transport: Transport, service: str, positions: Collection[LetterPosition], confirmation: Confirmation
) -> Iterator[tuple[Sequence[Outgoing], object]]:
    """Yield the records to send, and what is printed of each.

    Their values may be large, so they are read again one after another.
    """
    for record in read(transport, dlq_topic(service), positions):
        letter = DeadLetter.of(record)
        yield [original(record, letter.topic), *_journal_note(letter, service, confirmation)], letter.plain()


def _journal_note(letter: DeadLetter, service: str, confirmation: Confirmation) -> list[Outgoing]:
    """Return the journal's note of who sent it back and why, where it belongs to a saga."""
    if not letter.saga_id:
        return []
    redriven = Note(
        "redriven",
        reason=confirmation.reason,
        error=letter.why,
        event_type=letter.headers.get("ce_type", ""),
        event_id=letter.headers.get("ce_id", ""),
        actor=confirmation.actor,
        # A fresh id each time, so that the journal shows each of them.
        command_id=uuid7(),
    )
    return [journal(redriven, service, letter.saga_id, letter.headers.get("ce_sagatype", ""), datetime.now(UTC))]
