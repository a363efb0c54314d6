"""The rows of sellers: one taking a step, one putting back a taking.

SQLite and the rule that a key works once live here; what a seller has does not. The handlers call it with the keys
choreo gives them, and audits read the same file: what was taken less what was put back has left the shelves.
"""

import fcntl
import sqlite3
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS takings(
    key TEXT PRIMARY KEY, checkout_id TEXT NOT NULL, seller TEXT NOT NULL, quantity INTEGER NOT NULL,
    repeats INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS returns(
    key TEXT PRIMARY KEY, checkout_id TEXT NOT NULL, seller TEXT NOT NULL, quantity INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Shelves:
    """What was taken from whose shelves.

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

    def take(self, key: str, checkout_id: str, seller: str, quantity: int) -> bool:
        """Take articles from a shelf, once per key; return False where the key was used for putting back before.

        A repeat under the same key changes nothing but the count of repeats.
        """
        if self._db.execute(
            "INSERT OR IGNORE INTO takings(key, checkout_id, seller, quantity)"
            " SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS (SELECT 1 FROM returns WHERE key = ?1)",
            (key, checkout_id, seller, quantity),
        ).rowcount:
            return True
        self._db.execute("UPDATE takings SET repeats = repeats + 1 WHERE key = ?", (key,))
        return self._db.execute("SELECT 1 FROM returns WHERE key = ?", (key,)).fetchone() is None

    def put_back(self, key: str, checkout_id: str, seller: str, quantity: int) -> int:
        """Put back some of what was taken under this key, once, and make the key unusable; return how much it was."""
        self._db.execute(
            "INSERT OR IGNORE INTO returns(key, checkout_id, seller, quantity)"
            " SELECT ?1, ?2, ?3, MIN(?4, COALESCE((SELECT quantity FROM takings WHERE key = ?1), 0))",
            (key, checkout_id, seller, quantity),
        )
        back: int = self._db.execute("SELECT quantity FROM returns WHERE key = ?", (key,)).fetchone()[0]
        return back

    def gone(self) -> dict[str, int]:
        """Return how many articles have left each seller's shelves, but for sellers of whom none has."""
        return dict(
            self._db.execute(
                "SELECT seller, SUM(quantity) FROM"
                " (SELECT seller, quantity FROM takings UNION ALL SELECT seller, -quantity FROM returns)"
                " GROUP BY seller HAVING SUM(quantity) != 0"
            ).fetchall()
        )

    def close(self) -> None:
        """Close the file."""
        self._db.close()
