"""The rows of mailroom: one mail a step.

SQLite and the rule that a key sends once live here, as a mail provider would have it; what a mail says does not. The
handlers call it with the keys choreo gives them, and audits read the same file.
"""

import fcntl
import sqlite3
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS mails(
    key TEXT PRIMARY KEY, request_id TEXT NOT NULL, recipient TEXT NOT NULL, subject TEXT NOT NULL,
    repeats INTEGER NOT NULL DEFAULT 0
);
"""


class Outbox:
    """What people were told.

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

    def send(self, key: str, request_id: str, recipient: str, subject: str) -> None:
        """Send a mail, once per key; a repeat changes nothing but the count of repeats."""
        self._db.execute(
            "INSERT INTO mails(key, request_id, recipient, subject) VALUES (?, ?, ?, ?)"
            " ON CONFLICT(key) DO UPDATE SET repeats = repeats + 1",
            (key, request_id, recipient, subject),
        )

    def sent(self, request_id: str) -> list[tuple[str, str]]:
        """Return the recipient and subject of every mail about a request, the first one first."""
        return self._db.execute(
            "SELECT recipient, subject FROM mails WHERE request_id = ? ORDER BY rowid", (request_id,)
        ).fetchall()

    def close(self) -> None:
        """Close the file."""
        self._db.close()
