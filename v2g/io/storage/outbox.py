"""A durable outbox: records in SQLite until the back end has stored them (R97, R102).

The database is used in a separate thread, so no event loop waits for a disk. WAL, one transaction a call;
stored records survive kill -9. When full, beyond `max_bytes`, the oldest records are deleted, and `dropped` counts
them, so that the loss is visible (R103).
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from v2g.errors import StoreError

R = TypeVar("R")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS owner (ev TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS dropped (boot INTEGER PRIMARY KEY, through INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
    boot INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (boot, seq)
) WITHOUT ROWID;
"""
_COUNT: Final = "INSERT INTO meta VALUES ('dropped', ?) ON CONFLICT (key) DO UPDATE SET value = value + excluded.value"
_DROPPED: Final = (
    "INSERT INTO dropped VALUES (?, ?) ON CONFLICT (boot) DO UPDATE SET through = max(through, excluded.through)"
)

Position = tuple[int, int]
"""(boot, seq) of a record; (0, 0) is before the first."""

BEGINNING: Final[Position] = (0, 0)


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A stored record."""

    boot: int
    seq: int
    body: bytes

    @property
    def position(self) -> Position:
        """Its position."""
        return self.boot, self.seq


class Waiting(msgspec.Struct, frozen=True):
    """The rest of a boot: records from `first` on (None: none), and the highest `dropped` number, or 0."""

    boot: int
    first: int | None
    dropped: int


class Confirmed(msgspec.Struct, frozen=True):
    """How many records were deleted, and how many before a position remain."""

    forgotten: int
    before: int


class Outbox:
    """Records of one sender, keyed by `(boot, seq)`. Not safe for more than one process at a time.

    Every method but `open` raises StoreError when the disk fails.
    """

    def __init__(self, database: sqlite3.Connection, thread: ThreadPoolExecutor, boot: int, max_bytes: int) -> None:
        """Called by `open`."""
        self._db, self._thread, self._max_bytes = database, thread, max_bytes
        self.boot: Final = boot
        """The number of this start: higher than earlier ones, and than those of other outboxes of the sender."""
        self.dropped = self._one("SELECT coalesce(max(value), 0) FROM meta WHERE key = 'dropped'")
        """How many records were dropped for lack of space, over the outbox's whole life."""
        self._bytes = self._one("SELECT coalesce(sum(length(body)), 0) FROM outbox")

    @classmethod
    async def open(cls, path: Path, ev: str, utc_s: int, *, max_bytes: int = 1 << 30) -> "Outbox":
        """Open the outbox of `ev`, created when missing, and begin a boot.

        `utc_s` is the time, s since 1970: boots count from it, so that a new outbox does not repeat the numbers of
        a lost one. Raises StoreError: the file cannot be used, or is another sender's.
        """
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")
        try:
            return await asyncio.get_running_loop().run_in_executor(
                thread, _open, cls, path, ev, utc_s, max_bytes, thread
            )
        except BaseException:
            thread.shutdown(wait=False)
            raise

    async def _run(self, work: Callable[[], R]) -> R:
        def safely() -> R:
            try:
                with self._db:
                    return work()
            except sqlite3.Error as error:
                raise StoreError(f"telemetry outbox: {error}", hint="is the disk full or the file damaged?") from None

        return await asyncio.get_running_loop().run_in_executor(self._thread, safely)

    def _one(self, query: str, *values: int) -> int:
        return int(self._db.execute(query, values).fetchone()[0])

    async def put(self, seq: int, body: bytes) -> int:
        """Store a record of this boot durably; return how many older ones were dropped for it. Idempotent."""
        return await self._run(lambda: self._put(seq, body))

    def _put(self, seq: int, body: bytes) -> int:
        self._db.execute("BEGIN IMMEDIATE")
        added = self._db.execute("INSERT OR IGNORE INTO outbox VALUES (?, ?, ?)", (self.boot, seq, body)).rowcount
        size, gone = self._bytes + len(body) * added, 0
        while size > self._max_bytes:
            query = "SELECT boot, seq, length(body) FROM outbox ORDER BY boot, seq LIMIT 1"
            boot, oldest, freed = self._db.execute(query).fetchone()
            self._db.execute("DELETE FROM outbox WHERE boot = ? AND seq = ?", (boot, oldest))
            self._db.execute(_DROPPED, (boot, oldest))
            size, gone = size - freed, gone + 1
        if gone:
            self._db.execute(_COUNT, (gone,))
        self._db.execute("COMMIT")
        self._bytes = size
        self.dropped += gone
        return gone

    async def pending(self, after: Position = BEGINNING, limit: int = 100, max_bytes: int = 1 << 30) -> list[Row]:
        """Return up to `limit` records after a position, oldest first: of one boot, and no more than `max_bytes`.

        Each counts with one more byte for a separator. The first is returned however large it is.
        """
        return await self._run(lambda: self._pending(after, limit, max_bytes))

    def _pending(self, after: Position, limit: int, max_bytes: int) -> list[Row]:
        query = "SELECT boot, seq, body FROM outbox WHERE (boot, seq) > (?, ?) ORDER BY boot, seq LIMIT ?"
        rows: list[Row] = []
        size = 0
        for found in self._db.execute(query, (*after, limit)):
            row = Row(*found)
            size += len(row.body) + 1
            if rows and (row.boot != rows[0].boot or size > max_bytes):
                break
            rows.append(row)
        return rows

    async def waiting(self) -> list[Waiting]:
        """Return the rest of each boot, oldest first, including those of which everything was dropped."""
        return await self._run(self._waiting)

    def _waiting(self) -> list[Waiting]:
        first = dict(self._db.execute("SELECT boot, min(seq) FROM outbox GROUP BY boot").fetchall())
        dropped = dict(self._db.execute("SELECT boot, through FROM dropped").fetchall())
        return [Waiting(boot, first.get(boot), dropped.get(boot, 0)) for boot in sorted(first | dropped)]

    async def confirm(self, boot: int, through: int, position: Position = BEGINNING) -> Confirmed:
        """Delete the records of a boot up to a number, and its dropped ones; return how many remain.

        This is not synchronised: a record that returns after a power cut is sent again and recognised there.
        """
        return await self._run(lambda: self._confirm(boot, through, position))

    def _confirm(self, boot: int, through: int, position: Position) -> Confirmed:
        below = "boot = ? AND seq <= ?"
        freed = self._one(f"SELECT coalesce(sum(length(body)), 0) FROM outbox WHERE {below}", boot, through)  # noqa: S608
        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            forgotten = self._db.execute(f"DELETE FROM outbox WHERE {below}", (boot, through)).rowcount  # noqa: S608
            self._db.execute("DELETE FROM dropped WHERE boot = ? AND through <= ?", (boot, through))
            self._db.execute("COMMIT")
        finally:
            self._db.execute("PRAGMA synchronous = FULL")
        self._bytes -= freed
        return Confirmed(forgotten, self._one("SELECT count(*) FROM outbox WHERE (boot, seq) <= (?, ?)", *position))

    async def count(self) -> int:
        """Return the number of stored records."""
        return await self._run(lambda: self._one("SELECT count(*) FROM outbox"))

    async def close(self) -> None:
        """Finish pending work and close the database."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown()


def _open(cls: type[Outbox], path: Path, ev: str, utc_s: int, max_bytes: int, thread: ThreadPoolExecutor) -> Outbox:
    try:
        path.touch(mode=0o600)
        database = sqlite3.connect(path, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: {error}", hint="is the folder writable?") from None
    try:
        return cls(database, thread, _begin_boot(database, path, ev, utc_s), max_bytes)
    except sqlite3.Error as error:
        database.close()
        raise StoreError(f"{path}: {error}", hint="is the file an outbox, and the disk not full?") from None
    except StoreError:
        database.close()
        raise


def _begin_boot(database: sqlite3.Connection, path: Path, ev: str, utc_s: int) -> int:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(_SCHEMA)
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO owner SELECT ? WHERE NOT EXISTS (SELECT * FROM owner)", (ev,))
    (owner,) = database.execute("SELECT ev FROM owner").fetchone()
    if owner != ev:
        raise StoreError(f"{path} is the outbox of {owner!r}, not of {ev!r}", hint="give each vehicle its own file")
    (last,) = database.execute("SELECT coalesce(max(value), 0) FROM meta WHERE key = 'boot'").fetchone()
    boot = max(int(last) + 1, utc_s)
    database.execute("INSERT OR REPLACE INTO meta VALUES ('boot', ?)", (boot,))
    database.execute("COMMIT")
    return boot
