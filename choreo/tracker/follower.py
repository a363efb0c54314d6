"""The follower: reads the topics and writes the store.

Its loop lives here: poll, decode, write events, views and offsets in one database transaction. What the records mean is
worked out in `verdict`. `choreo track` runs it in a thread; tests and simulations call `step`.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from choreo.choreography import Choreography
from choreo.clock import Clock, SystemClock
from choreo.errors import SchemaError, TransportError, UndecodableRecord
from choreo.manifest import Manifest
from choreo.records import ENDS, JOURNAL, MANIFESTS
from choreo.tracker.row_decoder import RowDecoder, note_row
from choreo.tracker.rows import EventRow, NoteRow, microseconds
from choreo.tracker.store import ManifestRow, Store, UndecodableRow
from choreo.tracker.verdict import Verdict
from choreo.transport import Position, Reader, Record, Transport

BATCH_RECORDS_MAX = 5000
STALE_SAGAS_MAX = 2000
POLL_S = 0.5
RETRY_S = 1.0
LAG_CHECK_EVERY = timedelta(seconds=1)
_log = logging.getLogger("choreo")


class Follower:
    """Keeps a store up to date with the topics. All calls come from one thread.

    It writes nothing but its store, and may be killed at any point: a record that is read twice changes nothing.

    Args:
        store: Where to write; nobody else writes there.
        transport: The brokers.
        clock: Says when the store was last up to date.
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
        self._measured_at: datetime | None = None
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
                self._measure_lag()
        except BaseException:
            # What is in memory may be ahead of the store, and the store's offsets count.
            self.close()
            self._learn()
            raise
        return done + (opened and not done)

    def catch_up(self) -> int:
        """Step until nothing is left to read; return how many records were read."""
        total = 0
        while done := self.step():
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
        """Compile the manifests that the store has."""
        manifests = self._store.manifests()
        self._decoder = RowDecoder()
        for manifest in manifests:
            self._decoder.learn(manifest)
        self._graph = Choreography(manifests)

    def _open(self) -> bool:
        """Open a reader on every announced topic that exists; return whether it is a new one."""
        wanted = {MANIFESTS, JOURNAL, ENDS, *self._graph.all_topics}
        # Topics that do not exist yet are looked for while nothing is read.
        same = wanted <= self._followed or (wanted == self._wanted and not self._quiet)
        if self._reader is not None and same:
            return False
        self._wanted = wanted
        existing = frozenset(self._transport.describe(sorted(wanted)))
        if not existing or (self._reader is not None and existing == self._followed):
            return False
        self.close()
        offsets = {position: offset for position, offset in self._store.offsets().items() if position[0] in existing}
        self._reader = self._transport.reader(sorted(existing), offsets)
        self._followed = existing
        self._caught_up = False
        return True

    def _write(self, records: list[Record]) -> int:
        """Write what one poll brought, and judge the sagas it concerns; return how much was done."""
        store = self._store
        undecodable: list[UndecodableRow] = []
        manifests = list(_manifest_rows(records, undecodable))
        with store.writing():
            rewound = self._announce(manifests) if manifests else {}
            # Only now are the rest decoded: manifests say how.
            events, notes = self._decode(records, undecodable)
            changed = store.put_records(events, notes, undecodable)
            read = {(each.topic, each.partition): each.offset + 1 for each in records}
            store.put_offsets(read | {at: min(offset, read.get(at, offset)) for at, offset in rewound.items()})
            stale = store.stale(STALE_SAGAS_MAX)
            self._judge(changed.union(stale))
        self._caught_up = self._caught_up and not records
        if rewound:
            # The reader is past records that can be decoded only now: the next one begins at them.
            self.close()
        return len(records) + len(stale)

    def _announce(self, manifests: list[ManifestRow]) -> dict[Position, int]:
        """Store manifests and compile them; return where to read again what they can decode."""
        decoder, graph = self._decoder, self._graph
        self._store.put_manifests(manifests)
        self._learn()
        if graph.shape != self._graph.shape:
            self._store.make_stale()
        return self._store.rewind(self._decoder.fingerprints - decoder.fingerprints)

    def _judge(self, saga_ids: Iterable[str]) -> None:
        records = self._store.records(list(saga_ids), bare=True)
        self._store.drop_views(saga_id for saga_id, rows in records.items() if not any(rows))
        self._store.put_views(Verdict(self._graph, saga_id, *rows) for saga_id, rows in records.items() if any(rows))

    def _decode(self, records: list[Record], undecodable: list[UndecodableRow]) -> tuple[list[EventRow], list[NoteRow]]:
        events: list[EventRow] = []
        notes: list[NoteRow] = []
        for record in records:
            try:
                if record.topic in {JOURNAL, ENDS}:
                    notes.append(note_row(record))
                elif record.topic != MANIFESTS:
                    events.append(self._decoder.event(record))
            except UndecodableRecord as error:
                undecodable.append((*record[:3], error.reason, str(error)))
        return events, notes

    def _measure_lag(self) -> None:
        """Store where the partitions end, at most once in `LAG_CHECK_EVERY` unless records came since."""
        now = self._clock.now()
        recent = self._measured_at is not None and timedelta(0) <= now - self._measured_at < LAG_CHECK_EVERY
        if self._reader is None or (recent and self._caught_up):
            return
        ends, positions = self._reader.ends(), self._store.offsets()
        self._caught_up = all(positions.get(position, 0) >= end for position, end in ends.items())
        self._measured_at = now
        self._store.put_ends(ends, microseconds(now), caught_up=self._caught_up)


def _manifest_rows(records: list[Record], undecodable: list[UndecodableRow]) -> Iterator[ManifestRow]:
    for record in records:
        if record.topic == MANIFESTS and record.value is not None:
            try:
                yield Manifest.from_bytes(record.value).key, record.offset, record.value
            except SchemaError as error:
                _log.warning("a manifest cannot be read and is passed over: %s", error)
                undecodable.append((*record[:3], "undecodable", "not a manifest"))
