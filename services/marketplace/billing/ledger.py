"""The rows of billing: one hold a step, one void a hold.

SQLite and the rule that a key works once live here, as a card processor would have it; which card is refused does not.
The handlers call it with the keys choreo gives them, and audits read the same file: holds less voids is the income.
"""

import fcntl
import sqlite3
from decimal import Decimal
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS holds(
    key TEXT PRIMARY KEY, checkout_id TEXT NOT NULL, cents INTEGER NOT NULL, repeats INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS voids(
    key TEXT PRIMARY KEY, checkout_id TEXT NOT NULL, cents INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Ledger:
    """What is held on cards and what was let go of.

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

    def hold(self, key: str, checkout_id: str, amount: Decimal) -> bool:
        """Hold an amount, once per key; return False where the key was voided before.

        A repeat under the same key changes nothing but the count of repeats.
        """
        if self._db.execute(
            "INSERT OR IGNORE INTO holds(key, checkout_id, cents)"
            " SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM voids WHERE key = ?1)",
            (key, checkout_id, int(amount * 100)),
        ).rowcount:
            return True
        self._db.execute("UPDATE holds SET repeats = repeats + 1 WHERE key = ?", (key,))
        return self._db.execute("SELECT 1 FROM voids WHERE key = ?", (key,)).fetchone() is None

    def void(self, key: str, checkout_id: str) -> Decimal:
        """Let go of what is held under this key, once, and make the key unusable; return how much it was."""
        self._db.execute(
            "INSERT OR IGNORE INTO voids(key, checkout_id, cents)"
            " SELECT ?1, ?2, COALESCE((SELECT cents FROM holds WHERE key = ?1), 0)",
            (key, checkout_id),
        )
        return _dollars(self._db.execute("SELECT cents FROM voids WHERE key = ?", (key,)).fetchone()[0])

    def totals(self) -> tuple[Decimal, Decimal]:
        """Return how much was ever held and ever let go of."""
        held, voided = self._db.execute(
            "SELECT (SELECT COALESCE(SUM(cents), 0) FROM holds), (SELECT COALESCE(SUM(cents), 0) FROM voids)"
        ).fetchone()
        return _dollars(held), _dollars(voided)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _dollars(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)
