"""The rows of notification: one message a step.

SQLite and the rule that a key posts once live here, as a mail provider would have it; what a message says does not. The
handlers call it with the keys choreo gives them, and audits read the same file.
"""

import fcntl
import sqlite3
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages(
    key TEXT PRIMARY KEY, order_id TEXT NOT NULL, body TEXT NOT NULL, repeats INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""


class Postbox:
    """What customers were told.

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

    def post(self, key: str, order_id: str, body: str) -> None:
        """Send a message, once per key; a repeat changes nothing but the count of repeats."""
        self._db.execute(
            "INSERT INTO messages(key, order_id, body) VALUES (?, ?, ?)"
            " ON CONFLICT(key) DO UPDATE SET repeats = repeats + 1",
            (key, order_id, body),
        )

    def total(self) -> int:
        """Return how many messages were sent."""
        count: int = self._db.execute("SELECT COUNT(*) FROM messages").fetchone()[0]
        return count

    def close(self) -> None:
        """Close the file."""
        self._db.close()
