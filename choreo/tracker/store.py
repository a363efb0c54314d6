"""The tracker's database.

SQLite's tables, transactions and statements live here; what a saga's rows mean does not (`verdict`). `follower` writes,
and it alone; any number of other processes read while it does (write-ahead log). Events, views and offsets are in one
database, so that they change in one transaction.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, get_type_hints

from choreo.errors import ChoreoError, SchemaError
from choreo.manifest import Manifest
from choreo.tracker.rows import EventRow, NoteRow
from choreo.tracker.verdict import Verdict
from choreo.tracker.views import AT_REST, Flag
from choreo.transport import Position

BUSY_TIMEOUT_S = 10.0
IDS_MAX = 500
"""Most sagas asked for in one statement."""

_BITS = {Flag.PARKED: 1, Flag.STUCK: 2, Flag.VIOLATION: 4, Flag.DIFFERS: 8}

Rows = tuple[list[EventRow], list[NoteRow]]
UndecodableRow = tuple[str, int, int, str, str]
"""Topic, partition, offset, reason, error."""
ManifestRow = tuple[str, int, bytes]
"""Name, offset and body of a manifest, as its topic had it."""

_LAYOUT = 2
_COLUMN_NAMES = {"partition": "part", "offset": "pos", "trigger": "trigger_id"}
"""Fields of rows that are called otherwise in the tables."""
_COLUMN_TYPES = {str: "TEXT NOT NULL", int: "INTEGER NOT NULL", bytes: "BLOB NOT NULL", str | None: "TEXT"}


def _columns(row: type[EventRow | NoteRow]) -> tuple[str, ...]:
    return tuple(_COLUMN_NAMES.get(name, name) for name in row._fields)


def _table(name: str, row: type[EventRow | NoteRow], own_id: str) -> str:
    types = get_type_hints(row).values()
    columns = [f"{column} {_COLUMN_TYPES[kind]}" for column, kind in zip(_columns(row), types, strict=True)]
    return f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(columns)}, UNIQUE (saga_id, {own_id}));"


_CREATE = f"""
{_table("events", EventRow, "event_id")}
{_table("notes", NoteRow, "note_id")}
CREATE INDEX IF NOT EXISTS events_undecoded ON events (topic, part, pos) WHERE payload IS NULL;
CREATE TABLE IF NOT EXISTS views (
    saga_id TEXT PRIMARY KEY, type TEXT NOT NULL, business_key TEXT NOT NULL, state TEXT NOT NULL,
    flags INTEGER NOT NULL, started_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, rested_us INTEGER,
    stale INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS views_age ON views (started_us, saga_id);
CREATE INDEX IF NOT EXISTS views_state ON views (type, state, started_us, saga_id);
CREATE INDEX IF NOT EXISTS views_key ON views (business_key) WHERE business_key <> '';
CREATE INDEX IF NOT EXISTS views_updated ON views (updated_us);
CREATE INDEX IF NOT EXISTS views_flags ON views (flags) WHERE flags <> 0;
CREATE INDEX IF NOT EXISTS views_stale ON views (saga_id) WHERE stale = 1;
CREATE TABLE IF NOT EXISTS offsets (
    topic TEXT NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL, ended INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, part)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS manifests (name TEXT PRIMARY KEY, pos INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS undecodable (
    topic TEXT NOT NULL, part INTEGER NOT NULL, pos INTEGER NOT NULL, reason TEXT NOT NULL, error TEXT NOT NULL,
    PRIMARY KEY (topic, part, pos)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


def _upsert(table: str, row: type[EventRow | NoteRow], own_id: str) -> str:
    """Return an insert that folds duplicates as `rows.fold_events` does: the copy at the lowest place wins."""
    columns, identity = _columns(row), ("saga_id", own_id)
    lower = f"(excluded.topic, excluded.part, excluded.pos) <= ({table}.topic, {table}.part, {table}.pos)"
    sets = [
        f"{name} = CASE WHEN {lower} THEN excluded.{name} ELSE {table}.{name} END"
        for name in columns
        if name not in {*identity, "differs"}
    ]
    if "differs" in columns:
        sets.append("differs = max(events.differs, excluded.differs, events.digest <> excluded.digest)")
    return _put(table, columns, identity, sets)


def _put(table: str, columns: tuple[str, ...], identity: tuple[str, ...], sets: list[str] | None = None) -> str:
    """Return an insert that sets the columns of a row that is there already, to what is inserted unless told."""
    sets = sets or [f"{name} = excluded.{name}" for name in columns if name not in identity]
    marks = ", ".join("?" * len(columns))
    # Only names from this module are put together; every value is bound.
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) "  # noqa: S608
        f"ON CONFLICT ({', '.join(identity)}) DO UPDATE SET {', '.join(sets)}"
    )


_PUT_EVENT = _upsert("events", EventRow, "event_id")
_PUT_NOTE = _upsert("notes", NoteRow, "note_id")
_PUT_VIEW = _put(
    "views",
    ("saga_id", "type", "business_key", "state", "flags", "started_us", "updated_us", "rested_us", "stale"),
    ("saga_id",),
)
_PUT_OFFSET = _put("offsets", ("topic", "part", "next"), ("topic", "part"))
_PUT_UNDECODABLE = _put("undecodable", ("topic", "part", "pos", "reason", "error"), ("topic", "part", "pos"))
_PUT_MARK = _put("marks", ("name", "value"), ("name",))
_PUT_MANIFEST = _put("manifests", ("name", "pos", "body"), ("name",)) + " WHERE excluded.pos >= manifests.pos"
_PUT_END = _put("offsets", ("topic", "part", "next", "ended"), ("topic", "part"), ["ended = excluded.ended"])
EVENTS = f"SELECT {', '.join(_columns(EventRow))} FROM events"  # noqa: S608 - names of this module only
"""Reads `EventRow`s."""
_EVENTS_BARE = EVENTS.replace("payload", "NULL")
_NOTES = f"SELECT {', '.join(_columns(NoteRow))} FROM notes"  # noqa: S608 - names of this module only


class Store:
    """The tracker's database.

    Every method may be called from any thread; one at a time is served, and a transaction counts as one.

    Args:
        path: File of the database, made if it is not there; `:memory:` keeps it in this object.
    """

    def __init__(self, path: str | Path = ":memory:") -> None:
        self._lock = threading.RLock()
        self._depth = 0
        try:
            self._sql = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            self._sql.execute("PRAGMA journal_mode = WAL")
            # Killed processes lose nothing; after a power cut the last transactions, offsets and all, are read again.
            self._sql.execute("PRAGMA synchronous = NORMAL")
            self._sql.execute("PRAGMA cache_size = -65536")
            version = self._sql.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._sql.executescript(f"BEGIN IMMEDIATE;{_CREATE}PRAGMA user_version = {_LAYOUT};COMMIT;")
        except sqlite3.Error as error:
            raise ChoreoError(f"the tracker's store {str(path)!r} cannot be opened: {error}") from error
        if version not in {0, _LAYOUT}:
            self._sql.close()
            raise ChoreoError(
                f"the tracker's store {str(path)!r} has layout {version}, and this choreo reads {_LAYOUT}: "
                "delete it and let the tracker build it again, or use the choreo that wrote it"
            )

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._sql.close()

    def writing(self) -> AbstractContextManager[None]:
        """Make all that is written inside take effect at once, or not at all."""
        return self._within("BEGIN IMMEDIATE")

    def snapshot(self) -> AbstractContextManager[None]:
        """Make all that is read inside come from one moment."""
        return self._within("BEGIN")

    @contextmanager
    def _within(self, begin: str) -> Iterator[None]:
        with self._lock:
            if self._depth:
                yield
                return
            self._sql.execute(begin)
            self._depth = 1
            try:
                yield
                self._sql.execute("COMMIT")
            except BaseException:
                # A full disk makes SQLite roll back by itself.
                if self._sql.in_transaction:
                    self._sql.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0

    # What the follower writes.

    def put_records(
        self, events: Sequence[EventRow], notes: Sequence[NoteRow], undecodable: Sequence[UndecodableRow]
    ) -> set[str]:
        """Add what was read, copies of one id folded; return the sagas that it changed.

        Events that waited for their schema, and proved undecodable by it, are removed.
        """
        self._many(_PUT_EVENT, events)
        self._many(_PUT_NOTE, notes)
        self._many(_PUT_UNDECODABLE, undecodable)
        these = "FROM events WHERE payload IS NULL AND topic = ? AND part = ? AND pos = ?"
        changed = {saga_id for row in undecodable for (saga_id,) in self.ask(f"SELECT saga_id {these}", row[:3])}
        self._many(f"DELETE {these}", [row[:3] for row in undecodable])
        return changed.union((row.saga_id for row in events), (row.saga_id for row in notes))

    def put_views(self, verdicts: Iterable[Verdict]) -> None:
        """Replace what is kept of these sagas for finding and counting them."""
        rows = []
        for each in verdicts:
            rested_us = each.updated_us if each.state in AT_REST else None
            named = (each.saga_id, each.saga_type, each.business_key, each.state.value)
            rows.append((*named, _bits(each.flags), each.started_us, each.updated_us, rested_us, 0))
        self._many(_PUT_VIEW, rows)

    def put_offsets(self, offsets: Mapping[Position, int]) -> None:
        """Remember where to read on."""
        self._many(_PUT_OFFSET, [(topic, part, offset) for (topic, part), offset in offsets.items()])

    def put_ends(self, ends: Mapping[Position, int], checked_us: int, *, caught_up: bool) -> None:
        """Remember where the partitions ended when the follower looked."""
        with self.writing():
            self._many(_PUT_END, [(topic, part, 0, offset) for (topic, part), offset in ends.items()])
            marks = ["checked_us", "caught_up_us"] if caught_up else ["checked_us"]
            self._many(_PUT_MARK, [(name, checked_us) for name in marks])

    def drop_views(self, saga_ids: Iterable[str]) -> None:
        """Remove what is kept of sagas that have no records."""
        self._many("DELETE FROM views WHERE saga_id = ?", ((each,) for each in saga_ids))

    def put_manifests(self, rows: Iterable[ManifestRow]) -> None:
        """Add manifests; readers of the store see from `revision` that there are new ones."""
        with self.writing():
            self._many(_PUT_MANIFEST, rows)
            self._many(_PUT_MARK, [("revision", self.mark("revision") + 1)])

    def make_stale(self) -> None:
        """Have every saga judged again, because the graph changed."""
        self._many("UPDATE views SET stale = ?", [(1,)])

    def rewind(self, fingerprints: Iterable[str]) -> dict[Position, int]:
        """Go back to the first event that these schemas decode; return the partitions and where they are read from.

        Bodies are not kept for later, for they may hold what must never be stored.
        """
        back: dict[Position, int] = {}
        first = (
            "SELECT topic, part, min(pos) FROM events WHERE payload IS NULL AND fingerprint = ? GROUP BY topic, part"
        )
        for fingerprint in fingerprints:
            for topic, part, pos in self.ask(first, [fingerprint]):
                back[topic, part] = min(pos, back.get((topic, part), pos))
        self.put_offsets(back)
        return back

    def forget(self, rested_before_us: int, sagas_max: int = IDS_MAX) -> int:
        """Remove sagas that have rested since before then, oldest first; return how many."""
        with self.writing():
            ids = self.ask(
                "SELECT saga_id FROM views WHERE rested_us < ? ORDER BY updated_us LIMIT ?",
                [rested_before_us, sagas_max],
            )
            for table in ("events", "notes", "views"):
                self._many(f"DELETE FROM {table} WHERE saga_id = ?", ids)  # noqa: S608 - one of three names
        return len(ids)

    # What is read.

    def manifests(self) -> list[Manifest]:
        """Return the manifests that this choreo can read, the oldest first."""
        manifests = []
        for (body,) in self.ask("SELECT body FROM manifests ORDER BY pos, name"):
            # The follower stores only what it could read: this is of another version.
            with suppress(SchemaError):
                manifests.append(Manifest.from_bytes(body))
        return manifests

    def offsets(self) -> dict[Position, int]:
        """Return where to read on."""
        rows = self.ask("SELECT topic, part, next FROM offsets WHERE next > 0")
        return {(topic, part): offset for topic, part, offset in rows}

    def stale(self, sagas_max: int) -> list[str]:
        """Return sagas that are to be judged again."""
        return [row[0] for row in self.ask("SELECT saga_id FROM views WHERE stale = 1 LIMIT ?", [sagas_max])]

    def mark(self, name: str) -> int:
        """Return one of the store's own numbers, 0 where it was never set."""
        rows = self.ask("SELECT value FROM marks WHERE name = ?", [name])
        return int(rows[0][0]) if rows else 0

    def records(self, saga_ids: Sequence[str], *, bare: bool = False) -> dict[str, Rows]:
        """Return all rows of these sagas.

        Args:
            saga_ids: The sagas; those without rows have empty lists.
            bare: Without payloads, which nothing is judged by.
        """
        found: dict[str, Rows] = {each: ([], []) for each in saga_ids}
        events = _EVENTS_BARE if bare else EVENTS
        ids = list(found)
        with self.snapshot():
            for begin in range(0, len(ids), IDS_MAX):
                some = ids[begin : begin + IDS_MAX]
                where = f" WHERE saga_id IN ({', '.join('?' * len(some))})"
                for row in self._sql.execute(events + where, some):
                    found[row[0]][0].append(EventRow._make(row))
                for row in self._sql.execute(_NOTES + where, some):
                    found[row[0]][1].append(NoteRow._make(row))
        return found

    def ask(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that a statement reads; SQLite's values have no types that could be known here."""
        with self._lock:
            return self._sql.execute(statement, values).fetchall()

    def _many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        with self._lock:
            self._sql.executemany(statement, rows)


def bit(flag: Flag) -> int:
    """Return the bit that stands for a flag in the table; 0 for a flag that is never stored."""
    return _BITS.get(flag, 0)


def _bits(flags: Iterable[Flag]) -> int:
    return sum(map(bit, flags))
