"""Dead letters: records that a service could not read, with where they were and why.

Reading a service's dead letters, what their headers say and the record that goes back to where it came from live here;
printing and sending do not. `dlq` calls this.
"""

import re
import uuid
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any, NamedTuple

from choreo.cli.output import printable
from choreo.errors import BrokerUnavailable
from choreo.transport import Outgoing, Position, Reader, Record, Transport

POLL_S = 0.5
RECORDS_MAX = 500
SILENCE_S_MAX = 30.0
_ABOUT = "choreo_dlq_"
_POSITION = re.compile(r"(\d{1,9}):(\d{1,18})")


class LetterPosition(NamedTuple):
    """Where a dead letter lies: partition and offset in `<service>.dlq`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        """Return it as it is typed."""
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "LetterPosition":
        """Read `partition:offset`.

        Raises:
            ValueError: If it is not that.
        """
        found = _POSITION.fullmatch(text)
        if found is None:
            raise ValueError(f"{text} is not partition:offset, such as 0:17")
        return cls(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What is told of one dead letter.

    Attributes:
        topic: Where the record was, "" where nobody says.
        partition: Its partition there, as text.
        offset: Its offset there, as text.
        service: Who could not read it.
        reason: A stable word.
        error: What is wrong, for people.
        failed_at: When, as the service wrote it.
        attempts: How often it was tried, as text.
        key: Its key, as text; None where it has none.
        event_id: `ce_id`, "" where it has none.
        event_type: `ce_type`, likewise.
        saga_type: `ce_sagatype`, likewise.
        value_bytes: How large its value is.
        timestamp_ms: When the dead letter was written.
    """

    position: LetterPosition
    topic: str
    partition: str
    offset: str
    service: str
    reason: str
    error: str
    failed_at: str
    attempts: str
    key: str | None
    event_id: str
    event_type: str
    saga_type: str
    value_bytes: int
    timestamp_ms: int

    @classmethod
    def of(cls, record: Record) -> "DeadLetter":
        """Return what a record of `<service>.dlq` says about itself, as far as it says anything."""
        # Of two headers with one name the later one was added by whoever failed last.
        found = {name: text(value) or "" for name, value in record.headers}

        def about(name: str) -> str:
            return found.get(_ABOUT + name, "")

        return cls(
            position=LetterPosition(record.partition, record.offset),
            topic=about("topic"),
            partition=about("partition"),
            offset=about("offset"),
            service=about("service"),
            reason=about("reason"),
            error=about("error"),
            failed_at=about("failed_at"),
            attempts=about("attempts"),
            key=text(record.key),
            event_id=found.get("ce_id", ""),
            event_type=found.get("ce_type", ""),
            saga_type=found.get("ce_sagatype", ""),
            value_bytes=len(record.value or b""),
            timestamp_ms=record.timestamp_ms,
        )

    @property
    def was_at(self) -> str:
        """Topic, partition and offset of the original, as far as they are known."""
        place = f"{self.partition}:{self.offset}" if self.partition and self.offset else ""
        return f"{self.topic} {place}".rstrip()

    @property
    def told(self) -> str:
        """Reason and error; errors of choreo's own begin with the reason."""
        return (
            self.error
            if self.error and self.error.startswith(self.reason)
            else f"{self.reason}: {self.error}".removesuffix(": ")
        )

    @property
    def saga_id(self) -> str:
        """The saga that the record belongs to, "" where its key is no saga's id."""
        try:
            known = str(uuid.UUID(self.key or ""))
        except ValueError:
            return ""
        return known if known == self.key else ""

    def failed_before(self, moment: datetime) -> bool:
        """Return whether it failed before a moment; by its own time where the service's cannot be read."""
        try:
            failed = datetime.fromisoformat(self.failed_at)
        except ValueError:
            return self.timestamp_ms < moment.timestamp() * 1000
        return failed.tzinfo is not None and failed < moment

    def plain(self) -> dict[str, Any]:
        """Return it as JSON's own types."""
        return {
            "position": str(self.position),
            "topic": self.topic,
            "partition": _number(self.partition),
            "offset": _number(self.offset),
            "service": self.service,
            "reason": self.reason,
            "error": self.error,
            "failed_at": self.failed_at,
            "attempts": _number(self.attempts),
            "key": self.key,
            "event_id": self.event_id,
            "event_type": self.event_type,
            "value_bytes": self.value_bytes,
        }


def read(transport: Transport, topic: str, positions: Collection[LetterPosition] | None = None) -> Iterator[Record]:
    """Yield the records that a topic holds now, each partition's in order.

    Args:
        transport: The brokers.
        topic: A topic that exists.
        positions: Only these; all of them if None.

    Raises:
        BrokerUnavailable: If the brokers are silent.
    """
    with closing(transport.reader([topic])) as reader:
        ends = reader.ends()
        if positions is None:
            yield from _until(reader, ends, {}, None)
            return
    # Partitions that nobody asks for are begun at their ends.
    wanted: dict[int, list[int]] = {}
    for wished in positions:
        wanted.setdefault(wished.partition, []).append(wished.offset)
    starts = {at: min(*wanted.get(at[1], []), end, end) for at, end in ends.items()}
    ends = {at: min(end, max(wanted.get(at[1], [-1])) + 1) for at, end in ends.items()}
    with closing(transport.reader([topic], starts)) as reader:
        yield from _until(reader, ends, dict(starts), frozenset(positions))


def _until(
    reader: Reader,
    ends: dict[Position, int],
    at: dict[Position, int],
    positions: frozenset[LetterPosition] | None,
) -> Iterator[Record]:
    heard = monotonic()
    while any(at.get(position, 0) < end for position, end in ends.items()):
        records = reader.poll(POLL_S, RECORDS_MAX)
        if not records:
            # A transaction's mark takes an offset that no record has: where all is read, the reader says so.
            now = reader.ends()
            ends = {position: min(end, now.get(position, 0)) for position, end in ends.items()}
            if monotonic() - heard > SILENCE_S_MAX:
                raise BrokerUnavailable(f"the brokers sent nothing for {SILENCE_S_MAX:g} s, and there is more to read")
            continue
        heard = monotonic()
        for record in records:
            position = record.topic, record.partition
            at[position] = record.offset + 1
            if record.offset < ends.get(position, 0) and (
                positions is None or LetterPosition(record.partition, record.offset) in positions
            ):
                yield record


def again(record: Record, topic: str) -> Outgoing:
    """Return the record that was set aside, for the topic it was in: its own bytes, key and headers."""
    headers = [(name, value) for name, value in record.headers if not name.startswith(_ABOUT)]
    return Outgoing(topic, record.key, record.value, headers)


def text(value: bytes | None) -> str | None:
    """Return bytes from anywhere as text; what is no text is escaped."""
    return None if value is None else printable(value.decode("utf-8", "backslashreplace"))


def _number(digits: str) -> int | None:
    return int(digits) if digits.isdecimal() else None


def dump(value: bytes, bytes_max: int) -> Iterator[str]:
    """Yield the lines of a dump, as `hexdump -C` has them.

    Args:
        value: What to show.
        bytes_max: At most so much of it.
    """
    for begin in range(0, min(len(value), bytes_max), 16):
        some = value[begin : min(begin + 16, bytes_max)]
        letters = "".join(chr(each) if 32 <= each < 127 else "." for each in some)  # noqa: PLR2004 - what ASCII prints
        yield f"{begin:08x}  {some[:8].hex(' '):<23}  {some[8:].hex(' '):<23}  |{letters}|"
