"""The rows of inventory: one reservation a step, one release a reservation.

SQLite and the rule that a key works once live here; what an order may reserve does not. The handlers call it with the
keys choreo gives them, and audits read the same file: what was reserved less what was released is what has left.
"""

import fcntl
import sqlite3
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reservations(
    key TEXT PRIMARY KEY, order_id TEXT NOT NULL, quantity INTEGER NOT NULL, repeats INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS releases(
    key TEXT PRIMARY KEY, order_id TEXT NOT NULL, quantity INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Stock:
    """What is set aside for whom.

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

    def reserve(self, key: str, order_id: str, quantity: int) -> bool:
        """Set CDs aside, once per key; return False where the key was released before.

        A repeat under the same key changes nothing but the count of repeats.
        """
        if self._db.execute(
            "INSERT OR IGNORE INTO reservations(key, order_id, quantity)"
            " SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM releases WHERE key = ?1)",
            (key, order_id, quantity),
        ).rowcount:
            return True
        self._db.execute("UPDATE reservations SET repeats = repeats + 1 WHERE key = ?", (key,))
        return self._db.execute("SELECT 1 FROM releases WHERE key = ?", (key,)).fetchone() is None

    def release(self, key: str, order_id: str) -> int:
        """Take back what was reserved under this key, once, and make the key unusable; return how many CDs it was."""
        self._db.execute(
            "INSERT OR IGNORE INTO releases(key, order_id, quantity)"
            " SELECT ?1, ?2, COALESCE((SELECT quantity FROM reservations WHERE key = ?1), 0)",
            (key, order_id),
        )
        quantity: int = self._db.execute("SELECT quantity FROM releases WHERE key = ?", (key,)).fetchone()[0]
        return quantity

    def totals(self) -> tuple[int, int]:
        """Return how many CDs were ever reserved and ever released."""
        reserved, released = self._db.execute(
            "SELECT (SELECT COALESCE(SUM(quantity), 0) FROM reservations),"
            " (SELECT COALESCE(SUM(quantity), 0) FROM releases)"
        ).fetchone()
        return reserved, released

    def close(self) -> None:
        """Close the file."""
        self._db.close()
