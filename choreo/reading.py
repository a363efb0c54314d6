"""Reading topics to their end.

The one loop that does so, and its bound, live here; what is made of the records does not. The command line and replay
call it.
"""

import time
from collections.abc import Iterator, Mapping

from choreo.errors import BrokerUnavailable
from choreo.transport import Position, Reader, Record

POLL_S = 0.5
RECORDS_MAX = 1000
SILENCE_S_MAX = 30.0  # How long brokers may send nothing before reading is given up.


def read_to_end(
    reader: Reader, *, starts: Mapping[Position, int] | None = None, ends: Mapping[Position, int] | None = None
) -> Iterator[Record]:
    """Yield committed records up to an end that stands still, each partition's in order.

    Args:
        reader: From which nothing has been read yet.
        starts: Where it begins; at the beginning of a partition that is not named.
        ends: Offsets to stop before; where the partitions end now unless given.

    Raises:
        BrokerUnavailable: If nothing comes for `SILENCE_S_MAX` and not all has been read; retrying helps.
    """
    ends = dict(ends if ends is not None else reader.ends())
    following = dict(starts or {})
    last_at = time.monotonic()
    while unread := {topic for (topic, partition), end in ends.items() if following.get((topic, partition), 0) < end}:
        records = reader.poll(POLL_S, RECORDS_MAX)
        for record in records:
            position = record.topic, record.partition
            following[position] = record.offset + 1
            if record.offset < ends.get(position, 0):
                yield record
        if records:
            last_at = time.monotonic()
            continue
        # A transaction's marker takes an offset that no record has: the reader knows which it has passed.
        passed = reader.ends()
        ends = {position: min(end, passed.get(position, end)) for position, end in ends.items()}
        if time.monotonic() - last_at > SILENCE_S_MAX:
            raise BrokerUnavailable(
                f"{', '.join(sorted(unread))} could not be read to its end: nothing has come for {SILENCE_S_MAX:g} s, "
                "and not all has been read; try again"
            )
