"""`choreo events tail`: events as they come, decoded.

Following the topics and printing live here; decoding and masking are the tracker's. It needs no code of any service:
what is announced on `choreo.manifests` says how to read.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import click

from choreo.cli.brokers import Brokers, broker_options, connect
from choreo.cli.output import json_option, moment, note, print_json
from choreo.cli.saga_display import payload
from choreo.errors import SchemaError, UndecodableRecord
from choreo.manifest import Manifest
from choreo.reading import read_to_end
from choreo.records import MANIFESTS
from choreo.tracker.projection import shown
from choreo.tracker.row_decoder import RowDecoder
from choreo.tracker.views import EventView, plain
from choreo.transport import Position, Reader, Record, Transport

POLL_S = 0.5
SILENCE_S_MAX = 30.0
"""How long a broker may answer nothing before what it has is taken as read."""
RECORDS_MAX = 500


@click.group()
def events() -> None:
    """Read events from the topics, decoded."""


@events.command()
@click.option("--topic", "topics", multiple=True, help="Only from this topic; may be given several times.")
@click.option("--type", "event_type", help="Only of this type: a class name such as OrderPlaced, or the full name.")
@click.option("--saga-id", help="Only of this saga.")
@click.option("--from-beginning", is_flag=True, help="Begin with the oldest events, not with the next one.")
@click.option("-n", "--limit", type=click.IntRange(1), help="Stop after so many events.")
@click.option("-e", "--exit", "leave", is_flag=True, help="Stop at the end of the topics.")
@broker_options
@json_option
def tail(
    topics: tuple[str, ...],
    event_type: str | None,
    saga_id: str | None,
    from_beginning: bool,
    limit: int | None,
    leave: bool,
    brokers: Brokers,
    as_json: bool,
) -> None:
    """Print events as they are committed, one a line, until Ctrl-C. Sensitive fields are masked."""
    transport = connect(brokers.settings())
    count = 0
    with closing(transport):
        tailing = Tail(transport, RowDecoder(), only=frozenset(topics), from_beginning=from_beginning, leave=leave)
        for event in tailing.events():
            if event_type is not None and event_type not in (event.type, event.type.rpartition(".")[2]):
                continue
            if saga_id is not None and event.saga_id != saga_id:
                continue
            _print(event, as_json=as_json)
            count += 1
            if count == limit:
                break


def _print(event: EventView, *, as_json: bool) -> None:
    if as_json:
        print_json(plain(event))
        return
    name = click.style(event.type, bold=True)
    click.echo(f"{moment(event.at)}  {event.saga_id}  {name}  {event.source}  {payload(event.payload)}")


@dataclass(slots=True)
class Tail:
    """Follows event topics, those that are announced on the way included.

    Attributes:
        transport: The brokers.
        decoder: Learns schemas as manifests come.
        only: Topics to read; all that manifests name if empty.
        from_beginning: Begin with the oldest events.
        leave: Stop at the end.
    """

    transport: Transport
    decoder: RowDecoder
    only: frozenset[str]
    from_beginning: bool
    leave: bool

    def events(self) -> Iterator[EventView]:
        """Yield events, each partition's in order."""
        announced, positions = self._manifests()
        topics = self._existing(announced)
        positions |= self._start(topics)
        while True:
            reader = self.transport.reader([MANIFESTS, *sorted(topics)], positions)
            with closing(reader):
                ends = reader.ends()
                wider = topics
                heard = time.monotonic()
                while wider == topics:
                    records = reader.poll(POLL_S, RECORDS_MAX)
                    heard = time.monotonic() if records else heard
                    for record in records:
                        positions[record.topic, record.partition] = record.offset + 1
                        if record.topic == MANIFESTS:
                            announced |= self._learn(record)
                        elif (event := self._decoded(record)) is not None:
                            yield event
                    wider = self._existing(announced) if not self.only and announced > topics else topics
                    if (
                        self.leave
                        and wider == topics
                        and (_past(positions, ends) or (not records and _over(reader, positions, heard)))
                    ):
                        return
            # Topics that are announced meanwhile have no position yet, and are read from their beginning.
            topics = wider

    def _manifests(self) -> tuple[set[str], dict[Position, int]]:
        """Read all manifests there are; return the topics they name and where to go on."""
        announced: set[str] = set()
        positions: dict[Position, int] = {}
        with closing(self.transport.reader([MANIFESTS])) as reader:
            for record in read_to_end(reader):
                positions[record.topic, record.partition] = record.offset + 1
                announced |= self._learn(record)
        return announced, positions

    def _learn(self, record: Record) -> set[str]:
        if record.value is None:
            return set()
        try:
            manifest = Manifest.from_bytes(record.value)
        except SchemaError as error:
            note(f"a manifest cannot be read: {error}")
            return set()
        self.decoder.learn(manifest)
        return {event.topic for event in manifest.events.values()}

    def _existing(self, announced: set[str]) -> set[str]:
        wanted = self.only or frozenset(announced)
        return set(self.transport.describe(sorted(wanted))) if wanted else set()

    def _start(self, topics: set[str]) -> dict[Position, int]:
        if self.from_beginning or not topics:
            return {}
        with closing(self.transport.reader(sorted(topics))) as reader:
            return reader.ends()

    def _decoded(self, record: Record) -> EventView | None:
        try:
            return shown(self.decoder.event(record))
        except UndecodableRecord as error:
            note(f"{record.topic}/{record.partition}@{record.offset} cannot be read: {error}")
            return None


def _over(reader: Reader, positions: dict[Position, int], heard: float) -> bool:
    """Return whether all has been read: a transaction's marker takes an offset that no record has.

    Silence alone does not say so: the first answer of a busy broker takes its time.
    """
    return _past(positions, reader.ends()) or time.monotonic() - heard > SILENCE_S_MAX


def _past(positions: dict[Position, int], ends: dict[Position, int]) -> bool:
    return all(positions.get(position, 0) >= end for position, end in ends.items())
