"""The store's tables, as SQLite has them.

Only statements live here; `store` runs them. Events, views and offsets are in one database, so that they change in
one transaction.
"""

from choreo.tracker.rows import EventRow, NoteRow

VERSION = 2

CREATE = """
CREATE TABLE IF NOT EXISTS events (
    saga_id TEXT NOT NULL, event_id TEXT NOT NULL, type TEXT NOT NULL,
    topic TEXT NOT NULL, part INTEGER NOT NULL, pos INTEGER NOT NULL,
    source TEXT NOT NULL, causation_id TEXT NOT NULL, causes TEXT NOT NULL, compensates_id TEXT NOT NULL,
    branch TEXT NOT NULL, hop INTEGER NOT NULL, at_us INTEGER NOT NULL, saga_type TEXT NOT NULL,
    business_key TEXT NOT NULL, digest BLOB NOT NULL, differs INTEGER NOT NULL, reason TEXT NOT NULL,
    payload TEXT, fingerprint TEXT NOT NULL, traceparent TEXT NOT NULL,
    UNIQUE (saga_id, event_id));
CREATE INDEX IF NOT EXISTS events_undecoded ON events (topic, part, pos) WHERE payload IS NULL;
CREATE TABLE IF NOT EXISTS notes (
    saga_id TEXT NOT NULL, note_id TEXT NOT NULL, kind TEXT NOT NULL,
    topic TEXT NOT NULL, part INTEGER NOT NULL, pos INTEGER NOT NULL,
    service TEXT NOT NULL, handler TEXT NOT NULL, branch TEXT NOT NULL, trigger_id TEXT NOT NULL, step TEXT NOT NULL,
    reason TEXT NOT NULL, error TEXT NOT NULL, event_type TEXT NOT NULL, event_id TEXT NOT NULL,
    saga_type TEXT NOT NULL, attempt INTEGER NOT NULL, at_us INTEGER NOT NULL, actor TEXT NOT NULL,
    command_id TEXT NOT NULL,
    UNIQUE (saga_id, note_id));
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

_EVENT = (
    "saga_id, event_id, type, topic, part, pos, source, causation_id, causes, compensates_id, branch, hop, at_us, "
    "saga_type, business_key, digest, differs, reason, payload, fingerprint, traceparent"
)
_NOTE = (
    "saga_id, note_id, kind, topic, part, pos, service, handler, branch, trigger_id, step, reason, error, event_type, "
    "event_id, saga_type, attempt, at_us, actor, command_id"
)
_LOWER = "(excluded.topic, excluded.part, excluded.pos) <= ({0}.topic, {0}.part, {0}.pos)"


def _upsert(table: str, columns: str, width: int, identity: set[str]) -> str:
    """Return an insert that folds duplicates as `seen.fold_events` does: the lowest place wins."""
    lower = _LOWER.format(table)
    sets = [
        f"{name} = CASE WHEN {lower} THEN excluded.{name} ELSE {table}.{name} END"
        for name in columns.split(", ")
        if name not in identity and name != "differs"
    ]
    if "differs" in columns:
        sets.append("differs = max(events.differs, excluded.differs, events.digest <> excluded.digest)")
    marks = ", ".join("?" * width)
    keys = ", ".join(sorted(identity, reverse=True))
    # Only names from this module are put together; every value is bound.
    return f"INSERT INTO {table} ({columns}) VALUES ({marks}) ON CONFLICT ({keys}) DO UPDATE SET {', '.join(sets)}"  # noqa: S608


PUT_EVENT = _upsert("events", _EVENT, len(EventRow._fields), {"saga_id", "event_id"})
PUT_NOTE = _upsert("notes", _NOTE, len(NoteRow._fields), {"saga_id", "note_id"})
PUT_VIEW = (
    "INSERT INTO views (saga_id, type, business_key, state, flags, started_us, updated_us, rested_us, stale) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT (saga_id) DO UPDATE SET type = excluded.type, "
    "business_key = excluded.business_key, state = excluded.state, flags = excluded.flags, "
    "started_us = excluded.started_us, updated_us = excluded.updated_us, rested_us = excluded.rested_us, stale = 0"
)
PUT_OFFSET = (
    "INSERT INTO offsets (topic, part, next) VALUES (?, ?, ?) "
    "ON CONFLICT (topic, part) DO UPDATE SET next = excluded.next"
)
PUT_END = (
    "INSERT INTO offsets (topic, part, next, ended) VALUES (?, ?, 0, ?) "
    "ON CONFLICT (topic, part) DO UPDATE SET ended = excluded.ended"
)
PUT_MANIFEST = (
    "INSERT INTO manifests (name, pos, body) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET pos = excluded.pos, body = excluded.body WHERE excluded.pos >= manifests.pos"
)
PUT_UNDECODABLE = "INSERT OR REPLACE INTO undecodable (topic, part, pos, reason, error) VALUES (?, ?, ?, ?, ?)"
PUT_MARK = "INSERT INTO marks (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

EVENTS = f"SELECT {_EVENT} FROM events"  # noqa: S608 - names of this module only
EVENTS_BARE = EVENTS.replace("payload", "NULL")
NOTES = f"SELECT {_NOTE} FROM notes"  # noqa: S608 - names of this module only
