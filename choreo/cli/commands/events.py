"""`choreo events tail`: events as they come, decoded.

Following the topics and printing live here; decoding and masking are the tracker's. It needs no code of any service:
what is announced on `choreo.manifests` says how to read.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

import click

from choreo.cli.brokers import Brokers, broker_options, connect
from choreo.cli.output import json_option, moment, note, print_json
from choreo.cli.saga_display import payload
from choreo.errors import SchemaError
from choreo.event import short
from choreo.manifest import Manifest
from choreo.reading import read_to_end
from choreo.records import MANIFESTS
from choreo.tracker.projection import shown
from choreo.tracker.row_decoder import RowDecoder
from choreo.tracker.views import EventView, plain
from choreo.transport import Position, Reader, Record, Transport

POLL_S = 0.5
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
    with closing(connect(brokers.settings())) as transport:
        tailing = Tail(transport, RowDecoder(), only=frozenset(topics), from_beginning=from_beginning, leave=leave)
        wanted = (
            each
            for each in tailing.events()
            if event_type in {None, each.type, short(each.type)} and saga_id in {None, each.saga_id}
        )
        for event in islice(wanted, limit):
            _print(event, as_json=as_json)


def _print(event: EventView, *, as_json: bool) -> None:
    if as_json:
        print_json(plain(event))
        return
    name = click.style(event.type, bold=True)
    click.echo(f"{moment(event.at)}  {event.saga_id}  {name}  {event.source}  {payload(event.payload)}")


@dataclass(slots=True)
class Tail:
    """Follows event topics, those that are announced meanwhile included.

    Attributes:
        decoder: Learns schemas as manifests come.
        only: Topics to read; all that manifests name if empty.
        leave: Stop at the end.
    """

    transport: Transport
    decoder: RowDecoder
    only: frozenset[str]
    from_beginning: bool
    leave: bool
    _announced: set[str] = field(init=False, default_factory=set)
    _positions: dict[Position, int] = field(init=False, default_factory=dict)

    def events(self) -> Iterator[EventView]:
        """Yield events, each partition's in order.

        Raises:
            BrokerUnavailable: If the brokers fall silent before the end that is to be reached.
        """
        with closing(self.transport.reader([MANIFESTS])) as reader:
            for record in read_to_end(reader):
                self._event(record)
        topics = self._existing()
        if topics and not self.from_beginning:
            with closing(self.transport.reader(sorted(topics))) as reader:
                self._positions |= reader.ends()
        while True:
            with closing(self.transport.reader([MANIFESTS, *sorted(topics)], self._positions)) as reader:
                for record in self._records(reader, topics):
                    if (event := self._event(record)) is not None:
                        yield event
            # Topics that are announced meanwhile have no position yet, and are read from their beginning.
            known, topics = topics, self._existing()
            if self.leave and topics == known:
                return

    def _records(self, reader: Reader, topics: set[str]) -> Iterator[Record]:
        """Yield records to the end if that is where to stop, else until there are further topics to read."""
        if self.leave:
            yield from read_to_end(reader, starts=self._positions)
            return
        while self.only or not self._announced > topics or self._existing() == topics:
            yield from reader.poll(POLL_S, RECORDS_MAX)

    def _event(self, record: Record) -> EventView | None:
        """Return an event; None for a manifest, from which schemas and topics are learned, and for what is neither."""
        self._positions[record.topic, record.partition] = record.offset + 1
        try:
            if record.topic != MANIFESTS:
                return shown(self.decoder.event(record))
            if record.value is not None:
                manifest = Manifest.from_bytes(record.value)
                self.decoder.learn(manifest)
                self._announced |= {event.topic for event in manifest.events.values()}
        except SchemaError as error:
            is_manifest = record.topic == MANIFESTS
            which = "a manifest" if is_manifest else f"{record.topic}/{record.partition}@{record.offset}"
            note(f"{which} cannot be read: {error}")
        return None

    def _existing(self) -> set[str]:
        topics = self.only or frozenset(self._announced)
        return set(self.transport.describe(sorted(topics))) if topics else set()
