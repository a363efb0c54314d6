"""The rows of checkout: how each checkout ended.

SQLite and the rule that a checkout ends once live here; which end it is does not. The handlers call it with the keys
choreo gives them, and audits read the same file.
"""

import fcntl
import sqlite3
from pathlib import Path
from typing import Literal

_SCHEMA = """
CREATE TABLE IF NOT EXISTS endings(
    checkout_id TEXT PRIMARY KEY, key TEXT NOT NULL, ending TEXT NOT NULL, repeats INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""


class CheckoutBook:
    """How checkouts ended.

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

    def end(self, key: str, checkout_id: str, ending: Literal["completed", "failed"]) -> None:
        """Write how a checkout ended, once; a repeat under the same key changes only the count of repeats."""
        self._db.execute(
            "INSERT INTO endings(checkout_id, key, ending) VALUES (?, ?, ?)"
            " ON CONFLICT(checkout_id) DO UPDATE SET repeats = repeats + (key = excluded.key)",
            (checkout_id, key, ending),
        )

    def endings(self) -> dict[str, str]:
        """Return how every checkout ended, by its id."""
        return dict(self._db.execute("SELECT checkout_id, ending FROM endings").fetchall())

    def close(self) -> None:
        """Close the file."""
        self._db.close()
