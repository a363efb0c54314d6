"""The rows of shipping: one parcel a step, one cancellation a parcel.

SQLite and the rule that a key works once live here, as a carrier would have it; which parcel is refused does not. The
handlers call it with the keys choreo gives them, and audits read the same file: what wasn't cancelled is on the road.
"""

import fcntl
import sqlite3
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS parcels(
    key TEXT PRIMARY KEY, order_id TEXT NOT NULL, repeats INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cancellations(
    key TEXT PRIMARY KEY, order_id TEXT NOT NULL
) WITHOUT ROWID;
"""


class Dispatch:
    """What is on the road.

    Several worker processes may have the same file open.

    Args:
        path: Database file; it and its folder are made where missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        # Two processes that turn a new file to WAL at once do not wait for each other, so one goes first.
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)

    def book(self, key: str, order_id: str) -> str | None:
        """Book a parcel, once per key; return its number, or None where the key was cancelled before.

        A repeat under the same key changes nothing but the count of repeats.
        """
        if not self._db.execute(
            "INSERT OR IGNORE INTO parcels(key, order_id)"
            " SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM cancellations WHERE key = ?1)",
            (key, order_id),
        ).rowcount:
            self._db.execute("UPDATE parcels SET repeats = repeats + 1 WHERE key = ?", (key,))
            if self._db.execute("SELECT 1 FROM cancellations WHERE key = ?", (key,)).fetchone():
                return None
        return f"CD{key.replace('-', '')[:12].upper()}"

    def cancel(self, key: str, order_id: str) -> None:
        """Take back the parcel booked under this key, if any, and make the key unusable."""
        self._db.execute("INSERT OR IGNORE INTO cancellations(key, order_id) VALUES (?, ?)", (key, order_id))

    def totals(self) -> tuple[int, int]:
        """Return how many parcels were ever booked and how many of them cancelled."""
        booked, cancelled = self._db.execute(
            "SELECT (SELECT COUNT(*) FROM parcels), (SELECT COUNT(*) FROM cancellations JOIN parcels USING (key))"
        ).fetchone()
        return booked, cancelled

    def close(self) -> None:
        """Close the file."""
        self._db.close()
