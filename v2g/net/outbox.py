"""A durable outbox: records wait in SQLite until somebody has acknowledged them (R97, R102).

WAL, one transaction a call; what `put` returned from survives kill -9. Full means full: beyond `max_bytes` the oldest
records go, and `dropped` counts them, so that the loss is visible (R103).
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from v2g.errors import StoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
    boot INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (boot, seq)
) WITHOUT ROWID;
"""


class Outbox:
    """Records of one sender, keyed by `(boot, seq)`. Not safe for more than one process at a time."""

    def __init__(self, path: Path, *, max_bytes: int = 1 << 30) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT INTO meta VALUES ('boot', 1) ON CONFLICT(key) DO UPDATE SET value = value + 1")
            self.boot: int = self._db.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()[0]
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}", hint="is the folder writable and the file an outbox?") from None
        self._max_bytes = max_bytes
        self._bytes: int = self._db.execute("SELECT coalesce(sum(length(body)), 0) FROM outbox").fetchone()[0]

    @property
    def dropped(self) -> int:
        """How many records were dropped for want of space, over the outbox's whole life."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'dropped'").fetchone()
        return int(row[0]) if row else 0

    def put(self, seq: int, body: bytes) -> None:
        """Store a record of this boot durably. Raises StoreError when the disk refuses."""
        try:
            self._db.execute("INSERT INTO outbox VALUES (?, ?, ?)", (self.boot, seq, body))
        except sqlite3.Error as error:
            raise StoreError(f"telemetry record {seq} could not be stored: {error}") from None
        self._bytes += len(body)
        while self._bytes > self._max_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        boot, seq, size = self._db.execute(
            "SELECT boot, seq, length(body) FROM outbox ORDER BY boot, seq LIMIT 1"
        ).fetchone()
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("DELETE FROM outbox WHERE boot = ? AND seq = ?", (boot, seq))
        self._db.execute("INSERT INTO meta VALUES ('dropped', 1) ON CONFLICT(key) DO UPDATE SET value = value + 1")
        self._db.execute("COMMIT")
        self._bytes -= size

    def pending(self, after: tuple[int, int] = (0, 0), limit: int = 100) -> list[tuple[int, int, bytes]]:
        """Return up to `limit` unacknowledged records `(boot, seq, body)` after a key, oldest first."""
        rows = self._db.execute(
            "SELECT boot, seq, body FROM outbox WHERE (boot, seq) > (?, ?) ORDER BY boot, seq LIMIT ?", (*after, limit)
        )
        return list(rows)

    def acknowledge(self, keys: Iterable[tuple[int, int]]) -> None:
        """Forget records that the other side has. Unknown keys are ignored.

        The disk is not told to keep that at once: a record that a power cut brings back is sent again and known there.
        """
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("BEGIN IMMEDIATE")
        for key in keys:
            row = self._db.execute(
                "DELETE FROM outbox WHERE boot = ? AND seq = ? RETURNING length(body)", key
            ).fetchone()
            if row:
                self._bytes -= row[0]
        self._db.execute("COMMIT")
        self._db.execute("PRAGMA synchronous=FULL")

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM outbox").fetchone()[0])

    def close(self) -> None:
        """Close the database."""
        self._db.close()
