"""What happened in a scenario, to be told when it ends badly.

Keeping what services read, wrote and suffered, and telling one saga's part of it, live here; what is wrong with it does
not (`invariants`). Members and the outside world write, a simulation that fails tells.
"""

import json
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from choreo.event import short
from choreo.runtime.notes import ENDS, JOURNAL
from choreo.transport import Outgoing, Record

HAPPENINGS_MAX = 100_000
"""What is remembered of a run: the last so many."""
LINES_MAX = 200
"""Lines of one story: the first so many."""


class Happening(NamedTuple):
    """One batch of one service, or one event from outside.

    Attributes:
        at: When.
        who: The service, or "" for the world outside.
        read: What it read; nothing where a timer was due.
        wrote: What of it was committed.
        faults: What it suffered, in words.
    """

    at: datetime
    who: str
    read: Sequence[Record]
    wrote: Sequence[Outgoing]
    faults: Sequence[str]


class Chronicle:
    """All that happened, in order.

    Args:
        heeds: What each service heeds of what it reads, by event type; the rest is not worth telling.
    """

    def __init__(self, heeds: Mapping[str, Collection[str]]) -> None:
        self._heeds = heeds
        self._all: deque[Happening] = deque(maxlen=HAPPENINGS_MAX)

    def add(self, happening: Happening) -> None:
        """Take note of something."""
        self._all.append(happening)

    def story(self, saga_id: str) -> list[str]:
        """Return what happened to one saga, in lines; faults of a service that may have hit it are told, too."""
        lines = list(self._lines(saga_id.encode()))
        more = len(lines) - LINES_MAX
        return lines if more <= 0 else [*lines[:LINES_MAX], f"… and {more} more"]

    def _lines(self, key: bytes) -> Iterator[str]:
        for at, who, read, wrote, faults in self._all:
            came = [_name(each) for each in wrote if each.key == key]
            if not who:
                did = [f"publishes {', '.join(came)}"] if came else []
            else:
                heeded = self._heeds.get(who, ())
                mine = [_name(each) for each in read if each.key == key and _kind(each) in heeded]
                did = [f"reads {', '.join(dict.fromkeys(mine))}"] if mine else []
                if not mine and (came or faults):
                    did = ["reads something else" if read else "is woken by a timer"]
                did += [*faults, *([f"commits {', '.join(came)}"] if came else [])]
            if did:
                after_s = (at - self._all[0].at).total_seconds()
                yield f"{after_s:10.3f} s  {who or 'outside'} {'; '.join(did)}"


def _kind(record: Record | Outgoing) -> str:
    return next((value for name, value in record.headers if name == "ce_type"), b"?").decode(errors="replace")


def _name(record: Record | Outgoing) -> str:
    """Return what people call a record."""
    kind = _kind(record)
    if kind == JOURNAL:
        body = json.loads(record.value or b"{}")
        return f"a note ({body.get('note')} {body.get('handler')})"
    return "the end" if kind == ENDS else short(kind)
