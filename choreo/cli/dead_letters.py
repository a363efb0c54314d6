"""Dead letters: records that a service could not read, with where they were and why.

Reading a service's dead letters, what their headers say and the record that goes back to where it came from live here;
printing and sending do not. `dlq` calls this.
"""

import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import click

from choreo.cli.output import printable
from choreo.reading import read_to_end
from choreo.transport import Outgoing, Position, Record, Transport

_PREFIX = "choreo_dlq_"
_POSITION = re.compile(r"(\d{1,9}):(\d{1,18})")


class LetterPosition(NamedTuple):
    """Where a dead letter is: partition and offset in `<service>.dlq`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        """Return it as it is typed."""
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "LetterPosition":
        """Read `partition:offset`.

        Raises:
            click.BadParameter: If it is not that.
        """
        match = _POSITION.fullmatch(text)
        if match is None:
            raise click.BadParameter(f"{text} is not partition:offset, such as 0:17")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What a record of `<service>.dlq`, written at `timestamp_ms`, says about itself, as text and without its value."""

    position: LetterPosition
    key: str | None
    value_bytes: int
    timestamp_ms: int
    headers: Mapping[str, str]

    @classmethod
    def of(cls, record: Record) -> "DeadLetter":
        """Return what a record says about itself."""
        # Of two headers with one name the later one was added by the service that failed last.
        headers = {name: text(value) or "" for name, value in record.headers}
        position = LetterPosition(record.partition, record.offset)
        return cls(position, text(record.key), len(record.value or b""), record.timestamp_ms, headers)

    def about(self, name: str) -> str:
        """Return what the service that set it aside wrote about it (WIRE: `choreo_dlq_*`), "" for nothing."""
        return self.headers.get(_PREFIX + name, "")

    @property
    def topic(self) -> str:
        """The topic it was in."""
        return self.about("topic")

    @property
    def reason(self) -> str:
        """Why it could not be read, in a stable word."""
        return self.about("reason")

    @property
    def was_at(self) -> str:
        """Topic, partition and offset of the original, as far as they are known."""
        partition, offset = self.about("partition"), self.about("offset")
        position = f"{partition}:{offset}" if partition and offset else ""
        return f"{self.topic} {position}".rstrip()

    @property
    def why(self) -> str:
        """Reason and error; errors of choreo's own begin with the reason."""
        error = self.about("error")
        return error if error and error.startswith(self.reason) else f"{self.reason}: {error}".removesuffix(": ")

    @property
    def saga_id(self) -> str:
        """The saga that the record belongs to, "" where its key is no saga's id."""
        try:
            saga_id = str(uuid.UUID(self.key or ""))
        except ValueError:
            return ""
        return saga_id if saga_id == self.key else ""

    def failed_before(self, moment: datetime) -> bool:
        """Return whether it failed before a moment; by its own time where the service's cannot be read."""
        try:
            failed = datetime.fromisoformat(self.about("failed_at"))
        except ValueError:
            return self.timestamp_ms < moment.timestamp() * 1000
        return failed.tzinfo is not None and failed < moment

    def plain(self) -> dict[str, Any]:
        """Return it as JSON's own types."""
        return {
            "position": str(self.position),
            "topic": self.topic,
            "partition": _number(self.about("partition")),
            "offset": _number(self.about("offset")),
            "service": self.about("service"),
            "reason": self.reason,
            "error": self.about("error"),
            "failed_at": self.about("failed_at"),
            "attempts": _number(self.about("attempts")),
            "key": self.key,
            "event_id": self.headers.get("ce_id", ""),
            "event_type": self.headers.get("ce_type", ""),
            "value_bytes": self.value_bytes,
        }


def read(transport: Transport, topic: str, positions: Collection[LetterPosition] | None = None) -> Iterator[Record]:
    """Yield the records that a topic holds now, each partition's in order; those at `positions` where they are named.

    Raises:
        BrokerUnavailable: If the brokers are silent.
    """
    with closing(transport.reader([topic])) as reader:
        if positions is None:
            yield from read_to_end(reader)
            return
        ends = reader.ends()
    wanted: dict[Position, list[int]] = {}
    for partition, offset in positions:
        wanted.setdefault((topic, partition), []).append(offset)
    # Partitions of no wanted position are read from their ends.
    starts = {at: min(*wanted.get(at, []), end, end) for at, end in ends.items()}
    ends = {at: min(end, max(wanted.get(at, [-1])) + 1) for at, end in ends.items()}
    with closing(transport.reader([topic], starts)) as reader:
        for record in read_to_end(reader, starts=starts, ends=ends):
            if LetterPosition(record.partition, record.offset) in positions:
                yield record


def original(record: Record, topic: str) -> Outgoing:
    """Return a dead letter as the record that it was, for the topic it was in: its own bytes, key and headers."""
    headers = [(name, value) for name, value in record.headers if not name.startswith(_PREFIX)]
    return Outgoing(topic, record.key, record.value, headers)


def text(value: bytes | None) -> str | None:
    """Return bytes as text that is safe to print; what is no text is escaped."""
    return None if value is None else printable(value.decode("utf-8", "backslashreplace"))


def _number(digits: str) -> int | None:
    return int(digits) if digits.isdecimal() else None


def dump(value: bytes, bytes_max: int) -> Iterator[str]:
    """Yield the lines of a dump of so many bytes at most, as `hexdump -C` has them."""
    for begin in range(0, min(len(value), bytes_max), 16):
        some = value[begin : min(begin + 16, bytes_max)]
        letters = "".join(chr(each) if 32 <= each < 127 else "." for each in some)  # noqa: PLR2004 - what ASCII prints
        yield f"{begin:08x}  {some[:8].hex(' '):<23}  {some[8:].hex(' '):<23}  |{letters}|"
