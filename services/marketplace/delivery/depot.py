"""The rows of delivery: one package a step, one return a package.

SQLite and the rule that a key works once live here, as a carrier would have it; which package breaks does not. The
handlers call it with the keys choreo gives them, and audits read the same file.
"""

import fcntl
import sqlite3
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS packages(
    key TEXT PRIMARY KEY, checkout_id TEXT NOT NULL, seller TEXT NOT NULL, quantity INTEGER NOT NULL,
    lost INTEGER NOT NULL, repeats INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS returns(
    key TEXT PRIMARY KEY, checkout_id TEXT NOT NULL, quantity INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Depot:
    """Which packages are with customers, which were lost and which came back.

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

    def carry(self, key: str, checkout_id: str, seller: str, quantity: int, *, lost: bool) -> bool:
        """Take a package and bring it to the customer or lose it, once per key; return False where the key is unusable.

        A repeat under the same key changes nothing but the count of repeats.
        """
        if self._db.execute(
            "INSERT OR IGNORE INTO packages(key, checkout_id, seller, quantity, lost)"
            " SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM returns WHERE key = ?1)",
            (key, checkout_id, seller, quantity, lost),
        ).rowcount:
            return True
        self._db.execute("UPDATE packages SET repeats = repeats + 1 WHERE key = ?", (key,))
        return self._db.execute("SELECT 1 FROM returns WHERE key = ?", (key,)).fetchone() is None

    def bring_back(self, key: str, checkout_id: str, quantity: int) -> int:
        """Bring back what was carried under this key, once, and make the key unusable.

        Args:
            key: Of the step that carried the package, or would have.
            checkout_id: Whose package it is.
            quantity: What the seller packed.

        Returns:
            How many articles the seller has of it: all, or none where the package was lost.
        """
        self._db.execute(
            "INSERT OR IGNORE INTO returns(key, checkout_id, quantity)"
            " SELECT ?1, ?2, CASE WHEN EXISTS (SELECT 1 FROM packages WHERE key = ?1 AND lost) THEN 0 ELSE ?3 END",
            (key, checkout_id, quantity),
        )
        back: int = self._db.execute("SELECT quantity FROM returns WHERE key = ?", (key,)).fetchone()[0]
        return back

    def delivered(self) -> dict[str, int]:
        """Return how many articles of each seller customers have, but for sellers of whom they have none."""
        return self._sums("NOT lost AND NOT EXISTS (SELECT 1 FROM returns WHERE returns.key = packages.key)")

    def lost(self) -> dict[str, int]:
        """Return how many articles of each seller were lost, but for sellers of whom none was."""
        return self._sums("lost")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _sums(self, condition: str) -> dict[str, int]:
        rows = self._db.execute(f"SELECT seller, SUM(quantity) FROM packages WHERE {condition} GROUP BY seller")  # noqa: S608 - both conditions stand above.
        return dict(rows.fetchall())
