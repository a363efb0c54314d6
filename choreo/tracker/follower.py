"""From the topics into the store.

One reader's loop lives here: poll, decode, write events, views and offsets in one database transaction. What the
records mean is worked out by `verdict`. `choreo track` runs it in a thread; tests and simulations call `step`.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from choreo.choreography import Choreography
from choreo.clock import Clock, SystemClock
from choreo.errors import SchemaError, TransportError, UndecodableRecord
from choreo.manifest import Manifest
from choreo.tracker.row_decoder import RowDecoder, end_row, note_row
from choreo.tracker.rows import EventRow, NoteRow
from choreo.tracker.store import ManifestRow, Store
from choreo.tracker.verdict import judge
from choreo.transport import Position, Reader, Record, Transport

MANIFESTS = "choreo.manifests"
JOURNAL = "choreo.journal"
ENDS = "choreo.ends"
BATCH_RECORDS_MAX = 5000
STALE_SAGAS_MAX = 2000
POLL_S = 0.5
RETRY_S = 1.0
MARKS_MAX = 2
MARKS_LOOKS = 2
GAP_LOOKS = 10
LOOK_EVERY = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_log = logging.getLogger("choreo")


@dataclass(slots=True)
class _Taken:
    """What one poll brought, decoded."""

    manifests: list[ManifestRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    notes: list[NoteRow] = field(default_factory=list)
    undecodable: list[tuple[str, int, int, str, str]] = field(default_factory=list)
    offsets: dict[Position, int] = field(default_factory=dict)


class Follower:
    """Keeps a store up with the topics. All calls come from one thread.

    It writes nothing but its store, and may be killed at any point: what is read twice changes nothing.

    Args:
        store: Where to write; nobody else writes there.
        transport: The brokers.
        clock: Tells how old the answer is.
        batch_records_max: Most records in one database transaction.
    """

    def __init__(
        self,
        store: Store,
        transport: Transport,
        clock: Clock | None = None,
        batch_records_max: int = BATCH_RECORDS_MAX,
    ) -> None:
        self._store = store
        self._transport = transport
        self._clock = clock if clock is not None else SystemClock()
        self._batch_max = batch_records_max
        self._reader: Reader | None = None
        self._followed: frozenset[str] = frozenset()
        self._positions: dict[Position, int] = {}
        self._idle: dict[Position, tuple[int, int]] = {}
        self._looked_at: datetime | None = None
        self._caught_up = False
        self._wanted: set[str] = set()
        self._quiet = True
        self._learn()

    def step(self, timeout_s: float = 0.0) -> int:
        """Read once and write what came, in one transaction.

        Args:
            timeout_s: How long to wait for the first record.

        Returns:
            How many records were read and sagas judged again; 0 when there was nothing to do.

        Raises:
            TransportError: If the brokers cannot be read; another step tries again.
            sqlite3.Error: If the store cannot be written; nothing was, and another step tries again.
        """
        try:
            opened = self._open()
            if self._reader is None:
                return 0
            records = self._reader.poll(timeout_s, self._batch_max)
            done = self._write(records)
            self._quiet = not records
            if not records:
                self._look()
        except BaseException:
            # What is in memory may be ahead of the store, whose offsets are what counts.
            self._reopen()
            raise
        return done + (opened and not done)

    def catch_up(self, steps_max: int = 1_000_000) -> int:
        """TrackedStep until nothing is left to read; return how many records were.

        Args:
            steps_max: Give up after so many steps.
        """
        total = 0
        for _ in range(steps_max):
            done = self.step()
            if not done:
                break
            total += done
        return total

    def run(self, stop: threading.Event) -> None:
        """Follow until told to stop.

        Brokers that cannot be reached and a store that cannot be written are tried again, for as long as it takes.
        """
        while not stop.is_set():
            try:
                self.step(POLL_S)
                if self._reader is None:
                    stop.wait(RETRY_S)
            except TransportError as error:
                _log.warning("the tracker cannot read and tries again in %.0f s: %s", RETRY_S, error)
                stop.wait(RETRY_S)
            except sqlite3.OperationalError as error:
                # A full disk, most likely, or one that went away. Nothing was written, offsets neither.
                _log.error("the tracker's store cannot be written; trying again in %.0f s: %s", RETRY_S, error)
                stop.wait(RETRY_S)
        self.close()

    def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _learn(self) -> None:
        """Take the manifests as the store has them; nothing else of them is remembered."""
        bodies = self._store.manifests()
        manifests = [manifest for body in bodies if (manifest := _manifest(body)) is not None]
        self._decoder = RowDecoder()
        for manifest in manifests:
            self._decoder.learn(manifest)
        self._graph = Choreography(manifests)

    def _reopen(self) -> None:
        self.close()
        self._learn()

    def _open(self) -> bool:
        """Open a reader on every topic that there is to follow; return whether it is a new one."""
        wanted = {MANIFESTS, JOURNAL, ENDS, *self._graph.all_topics}
        # Topics that are not there yet are looked for when there is nothing better to do.
        same = wanted <= self._followed or (wanted == self._wanted and not self._quiet)
        if self._reader is not None and same:
            return False
        self._wanted = wanted
        there = frozenset(self._transport.describe(sorted(wanted)))
        if not there or (self._reader is not None and there == self._followed):
            return False
        self.close()
        self._positions = self._store.offsets()
        offsets = {position: offset for position, offset in self._positions.items() if position[0] in there}
        self._reader = self._transport.reader(sorted(there), offsets)
        self._followed = there
        self._caught_up = False
        self._idle = {}
        return True

    def _write(self, records: list[Record]) -> int:
        taken = self._take_manifests(records)
        store = self._store
        with store.writing():
            back: dict[Position, int] = {}
            if taken.manifests:
                back = self._announce(taken.manifests)
            self._take(records, taken)
            dropped: list[str] = []
            if records:
                store.put_events(taken.events)
                store.put_notes(taken.notes)
                store.put_undecodable(taken.undecodable)
                dropped = store.drop_undecoded(taken.undecodable)
                offsets = {**taken.offsets, **{each: min(at, taken.offsets.get(each, at)) for each, at in back.items()}}
                store.put_offsets(offsets)
            changed = [row.saga_id for row in taken.events] + [row.saga_id for row in taken.notes]
            touched = dict.fromkeys([*dropped, *changed])
            stale = [each for each in store.stale(STALE_SAGAS_MAX) if each not in touched]
            self._judge([*touched, *stale])
        self._positions |= taken.offsets
        self._caught_up = self._caught_up and not records
        if back:
            # The reader is where the records were that could not be decoded then.
            self.close()
        return len(records) + len(stale)

    def _announce(self, manifests: list[ManifestRow]) -> dict[Position, int]:
        before = self._decoder
        graph = self._graph
        self._store.put_manifests(manifests)
        self._learn()
        if graph.shape != self._graph.shape:
            self._store.make_stale()
        return self._store.rewind(self._decoder.fingerprints - before.fingerprints)

    def _judge(self, saga_ids: Iterable[str]) -> None:
        rows = self._store.records(list(saga_ids), bare=True)
        self._store.drop_views(saga_id for saga_id, each in rows.items() if not any(each))
        self._store.put_views(judge(self._graph, saga_id, *each).summary for saga_id, each in rows.items() if any(each))

    def _take_manifests(self, records: list[Record]) -> _Taken:
        taken = _Taken()
        for record in records:
            taken.offsets[record.topic, record.partition] = record.offset + 1
            if record.topic != MANIFESTS or record.value is None:
                continue
            manifest = _manifest(record.value)
            if manifest is None:
                taken.undecodable.append((*record[:3], "undecodable", "not a manifest"))
            else:
                taken.manifests.append(ManifestRow(manifest.key, record.offset, record.value))
        return taken

    def _take(self, records: list[Record], taken: _Taken) -> None:
        decode = self._decoder.event
        for record in records:
            try:
                if record.topic == JOURNAL:
                    taken.notes.append(note_row(record))
                elif record.topic == ENDS:
                    taken.notes.append(end_row(record))
                elif record.topic != MANIFESTS:
                    taken.events.append(decode(record))
            except UndecodableRecord as error:
                taken.undecodable.append((*record[:3], error.reason, str(error)))

    def _look(self) -> None:
        """Look how far behind this is, at most once in a while and whenever there is news."""
        now = self._clock.now()
        recent = self._looked_at is not None and timedelta(0) <= now - self._looked_at < LOOK_EVERY
        if self._reader is None or (recent and self._caught_up):
            return
        ends = self._reader.ends()
        idle: dict[Position, tuple[int, int]] = {}
        for each, at in ends.items():
            gap = at - self._positions.get(each, 0)
            known, looks = self._idle.get(each, (at, 0))
            idle[each] = (at, looks + 1 if known == at else 1)
            # Transactions leave marks at the end of a partition that no reader is given. Where polls bring nothing and
            # the end stays, what is left is such marks. It is only told so: reading goes on at what was really read.
            if gap > 0 and idle[each][1] >= (MARKS_LOOKS if gap <= MARKS_MAX else GAP_LOOKS):
                ends[each] = self._positions.get(each, 0)
        self._idle = idle
        self._caught_up = all(self._positions.get(each, 0) >= at for each, at in ends.items())
        self._looked_at = now
        self._store.put_ends(ends, (now - _EPOCH) // _MICROSECOND, caught_up=self._caught_up)


def _manifest(body: bytes) -> Manifest | None:
    try:
        return Manifest.from_bytes(body)
    except SchemaError as error:
        _log.warning("a manifest cannot be read and is passed over: %s", error)
        return None
