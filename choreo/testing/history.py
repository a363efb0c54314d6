"""What happened in a scenario, for the report of one that ends badly.

Keeping what services read, wrote and suffered, and telling one saga's part of it, live here; what is wrong with it does
not (`invariants`). Services and the outside world write, a simulation that fails reads.
"""

import json
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from choreo.event import short
from choreo.records import ENDS, JOURNAL
from choreo.transport import Outgoing, Record

ENTRIES_MAX = 100_000
"""What is remembered of a run: the last so many entries."""
LINES_MAX = 200
"""Lines about one saga: the first so many."""


class HistoryEntry(NamedTuple):
    """One batch of one service, or one event from outside.

    Attributes:
        at: When.
        service: The service, or "" for the world outside.
        read: What it read; nothing where a timer was due.
        wrote: What of it was committed.
        faults: What it suffered, in words.
    """

    at: datetime
    service: str
    read: Sequence[Record]
    wrote: Sequence[Outgoing]
    faults: Sequence[str]


class History:
    """All that happened, in order, but for what services read and do not react to (`consumes` says what they do)."""

    def __init__(self, consumes: Mapping[str, Collection[str]]) -> None:
        self._consumes = consumes
        self._entries: deque[HistoryEntry] = deque(maxlen=ENTRIES_MAX)

    def add(self, entry: HistoryEntry) -> None:
        """Add what happened just now."""
        self._entries.append(entry)

    def lines(self, saga_id: str) -> list[str]:
        """Return what happened to one saga, faults of a service that may have hit it among it."""
        lines = list(self._lines(saga_id.encode()))
        more = len(lines) - LINES_MAX
        return lines if more <= 0 else [*lines[:LINES_MAX], f"… and {more} more"]

    def _lines(self, key: bytes) -> Iterator[str]:
        for at, service, read, wrote, faults in self._entries:
            committed = ", ".join(_title(record) for record in wrote if record.key == key)
            if not service:
                parts = [f"publishes {committed}"] if committed else []
            else:
                consumed = self._consumes.get(service, ())
                titles = [_title(record) for record in read if record.key == key and _type(record) in consumed]
                parts = [f"reads {', '.join(dict.fromkeys(titles))}"] if titles else []
                if not titles and (committed or faults):
                    parts = ["reads something else" if read else "is woken by a timer"]
                parts += [*faults, *([f"commits {committed}"] if committed else [])]
            if parts:
                after_s = (at - self._entries[0].at).total_seconds()
                yield f"{after_s:10.3f} s  {service or 'outside'} {'; '.join(parts)}"


def header(record: Record | Outgoing, name: str) -> str:
    """Return a record's header; "" where it has none of this name."""
    return next((value or b"" for found, value in record.headers if found == name), b"").decode(errors="replace")


def _type(record: Record | Outgoing) -> str:
    return header(record, "ce_type") or "?"


def _title(record: Record | Outgoing) -> str:
    """Return what people call a record."""
    type_name = _type(record)
    if type_name == JOURNAL:
        body = json.loads(record.value or b"{}")
        return f"a note ({body.get('note')} {body.get('handler')})"
    return "the end" if type_name == ENDS else short(type_name)
