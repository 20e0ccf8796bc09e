"""A durable outbox: records in SQLite until the back end has stored them (R97, R102).

Each start is a boot, with a number and a random id. The number may be another sender's, if an outbox was lost or
copied; the back end tells by the id, and the boot then takes another number: its records stay as they are in the file.

The database is used in a separate thread, so no event loop waits for a disk. WAL, one transaction a call;
stored records survive kill -9. Beyond `max_bytes` the least important records are deleted, the oldest of them first;
gaps count them by priority until a record about each is in the outbox, so that the loss is visible (R103). With keys,
records are sealed in the file (R145).
"""

import asyncio
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from v2g.errors import StoreError
from v2g.io.storage.record_keys import RecordKeys
from v2g.telemetry.priority import LOW_RATE, Priority

R = TypeVar("R")

MAX_ISLANDS: Final = 100
"""Important records of one boot that may have less important ones between them. Sent ahead of those, each is a gap in
the numbers that have arrived, and back ends keep a limited number of gaps in each boot."""

_DROP_STEP: Final = 100

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS owner (ev TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS boots (boot INTEGER PRIMARY KEY, number INTEGER NOT NULL, id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS dropped (boot INTEGER PRIMARY KEY, through INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS gaps (
    priority INTEGER PRIMARY KEY, count INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS outbox (
    boot INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (boot, seq)
) WITHOUT ROWID;
"""
_COLUMNS: Final = {"priority": int(Priority.LIVE), "utc_ms": 0, "key": 0}
"""Columns that older outboxes lack, with the value for their records. `key`: number of the key, 0 without one."""

_DROPPED: Final = (
    "INSERT INTO dropped VALUES (?, ?) ON CONFLICT (boot) DO UPDATE SET through = max(through, excluded.through)"
)
_GAP: Final = (
    "INSERT INTO gaps VALUES (?, 1, ?, ?) ON CONFLICT (priority) DO UPDATE SET count = count + 1, "
    "first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)"
)
_PUT: Final = "INSERT OR IGNORE INTO outbox (boot, seq, priority, utc_ms, key, body) VALUES (?, ?, ?, ?, ?, ?)"
_SET: Final = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
_NAME_BOOT: Final = "INSERT INTO boots VALUES (?, ?, ?) ON CONFLICT (boot) DO UPDATE SET number = excluded.number"

Position = tuple[int, int]
"""(boot, seq) of a record; (0, 0) is before the first."""

BEGINNING: Final[Position] = (0, 0)
END: Final[Position] = (2**53, 0)


class BootName(msgspec.Struct, frozen=True):
    """The `number` of a boot at the back end, and its random id, empty for boots of earlier versions."""

    number: int
    boot_id: str


class Gap(msgspec.Struct, frozen=True):
    """Dropped records of a priority that no record reports yet: how many, and from when to when (ms since 1970)."""

    priority: Priority
    count: int
    first_ms: int
    last_ms: int


class Entry(msgspec.Struct, frozen=True):
    """A record for the outbox: its number, its priority, its time, its boot (None: the current one), and the gap that
    ends because it `reports` it."""

    seq: int
    body: bytes
    priority: Priority = Priority.LIVE
    utc_ms: int = 0
    boot: int | None = None
    reports: Gap | None = None


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


class Outbox:
    """Records of one sender, keyed by `(boot, seq)`. Not safe for more than one process at a time.

    Every method but `open` raises StoreError when the disk fails.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        thread: ThreadPoolExecutor,
        ev: str,
        boot: int,
        max_bytes: int,
        keys: RecordKeys | None,
    ) -> None:
        """Called by `open`."""
        self._db, self._thread, self._ev, self._max_bytes, self._keys = database, thread, ev, max_bytes, keys
        self.boot = boot
        """The number of this start: higher than earlier ones."""
        self.names: Mapping[int, BootName] = _names(database)
        """How boots are named at the back end; those that are absent by their number only."""
        self.dropped = self._meta("dropped")
        """How many records were dropped for lack of space, over the outbox's whole life."""
        self.commits = 0
        """Durable commits since the start: each waits for the disk."""
        self._bytes = self._meta("bytes")
        self._islands, self._on_island = 0, False

    @classmethod
    async def open(
        cls, path: Path, ev: str, utc_s: int, *, max_bytes: int = 1 << 30, keys: RecordKeys | None = None
    ) -> "Outbox":
        """Open the outbox of `ev`, created when missing, and begin a boot.

        `utc_s` is the time, s since 1970: boots count from it, so that a new outbox seldom repeats the numbers of
        a lost one. `keys` seal new records, and open sealed ones. Raises StoreError: the file cannot be used, is
        another sender's, or sealed with other keys.
        """
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")
        try:
            return await asyncio.get_running_loop().run_in_executor(
                thread, _open, cls, path, ev, utc_s, max_bytes, keys, thread
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

    def _meta(self, key: str) -> int:
        return int(self._db.execute("SELECT coalesce(max(value), 0) FROM meta WHERE key = ?", (key,)).fetchone()[0])

    @property
    def crowded(self) -> bool:
        """Whether this boot has so many important records that `next_boot` is due."""
        return self._islands >= MAX_ISLANDS

    async def next_boot(self) -> int:
        """Begin another boot; return its number."""

        def begin() -> int:
            boot = self._meta("boot") + 1
            self._db.execute("BEGIN IMMEDIATE")
            _begin(self._db, boot)
            self._db.execute("COMMIT")
            self.boot, self.names = boot, _names(self._db)
            self._islands, self._on_island = 0, False
            return self.boot

        return await self._run(begin)

    def name(self, boot: int) -> BootName:
        """Return the name of a boot at the back end."""
        return self.names.get(boot) or BootName(boot, "")

    def boot_named(self, name: BootName) -> int | None:
        """Return the boot of a name; None: it is another outbox's."""
        if not name.boot_id:
            return None if name.number in self.names else name.number
        return next((boot for boot, each in self.names.items() if each == name), None)

    async def renumber(self, boots: Iterable[int], first: int) -> None:
        """Give boots other numbers at the back end, in their order, from `first` on; later boots have higher ones."""

        def change() -> None:
            self._db.execute("BEGIN IMMEDIATE")
            number = max(first, self._meta("boot") + 1)
            for number, boot in enumerate(sorted(boots), number):  # noqa: B020 - the last one counts
                self._db.execute(_NAME_BOOT, (boot, number, secrets.token_hex(8)))
            self._db.execute(_SET, ("boot", number))
            self._db.execute("COMMIT")
            self.names = _names(self._db)

        await self._run(change)

    async def put(self, seq: int, body: bytes, priority: Priority = Priority.LIVE, utc_ms: int = 0) -> int:
        """Store one record of this boot; see `put_all`."""
        return await self.put_all((Entry(seq, body, priority, utc_ms),))

    async def put_all(self, entries: Sequence[Entry]) -> int:
        """Store records durably, in rising order and one commit; return how many were dropped for them. Idempotent."""
        return await self._run(lambda: self._put(entries))

    def _put(self, entries: Sequence[Entry]) -> int:
        self._db.execute("BEGIN IMMEDIATE")
        size = self._bytes
        for each in entries:
            boot = self.boot if each.boot is None else each.boot
            key, body = self._keys.seal(each.body, self._name(boot, each.seq)) if self._keys else (0, each.body)
            row = boot, each.seq, each.priority, each.utc_ms, key, body
            added = self._db.execute(_PUT, row).rowcount
            size += len(body) * added
            if added and each.reports is not None:
                self._end_gap(each.reports)
        size, gone = self._drop(size)
        self._db.execute(_SET, ("bytes", size))
        if gone:
            self._db.execute(_SET, ("dropped", self.dropped + gone))
        self._db.execute("COMMIT")
        self.commits += 1
        self._bytes = size
        self.dropped += gone
        for each in entries:
            important = each.priority <= LOW_RATE
            self._islands += important and not self._on_island
            self._on_island = important
        return gone

    async def renew_keys(self) -> bool:
        """Read the keys again if their file has changed; return whether it has (R152). Raises as `RecordKeys`."""

        def renew() -> bool:
            if self._keys is None or not self._keys.renew():
                return False
            self._db.execute("BEGIN IMMEDIATE")
            _set_owner(self._db, self._ev, self._keys)
            self._db.execute("COMMIT")
            return True

        return await self._run(renew)

    def _name(self, boot: int, seq: int) -> bytes:
        return f"{self._ev}/{boot}/{seq}".encode()

    def _drop(self, size: int) -> tuple[int, int]:
        """Delete the least important records beyond the limit; return the size, and how many were deleted."""
        gone = 0
        for priority in sorted(Priority, reverse=True)[:-1]:  # settlement stays
            while size > self._max_bytes:
                query = (
                    "SELECT boot, seq, utc_ms, length(body) FROM outbox WHERE priority = ? ORDER BY boot, seq LIMIT ?"
                )
                found = self._db.execute(query, (priority, _DROP_STEP)).fetchall()
                for boot, seq, utc_ms, freed in found:
                    if size <= self._max_bytes:
                        break
                    self._db.execute("DELETE FROM outbox WHERE boot = ? AND seq = ?", (boot, seq))
                    self._db.execute(_DROPPED, (boot, seq))
                    self._db.execute(_GAP, (priority, utc_ms, utc_ms))
                    size, gone = size - freed, gone + 1
                if not found:
                    break
        return size, gone

    def _end_gap(self, gap: Gap) -> None:
        change = "UPDATE gaps SET count = count - ?, first_ms = ? WHERE priority = ?"
        self._db.execute(change, (gap.count, gap.last_ms, gap.priority))
        self._db.execute("DELETE FROM gaps WHERE count <= 0")

    async def gaps(self) -> list[Gap]:
        """Return the gaps that no record reports yet, the most important first."""

        def read() -> list[Gap]:
            rows = self._db.execute("SELECT priority, count, first_ms, last_ms FROM gaps ORDER BY priority").fetchall()
            return [Gap(Priority(priority), *rest) for priority, *rest in rows]

        return await self._run(read)

    async def pending(
        self,
        after: Position = BEGINNING,
        limit: int = 100,
        max_bytes: int = 1 << 30,
        *,
        through: Position = END,
        least: Priority | None = None,
    ) -> list[Row]:
        """Return up to `limit` records after a position, oldest first: of one boot, and no more than `max_bytes`.

        Each counts with one more byte for a separator. The first is returned however large it is. `through` is the last
        position; records less important than `least` are left out. A damaged record is returned with an empty body.
        Raises StoreError also for a missing key.
        """
        return await self._run(lambda: self._pending(after, limit, max_bytes, through, least))

    def _pending(
        self, after: Position, limit: int, max_bytes: int, through: Position, least: Priority | None
    ) -> list[Row]:
        if least is None:
            return self._read(None, after, limit, max_bytes, through)
        each = (self._read(priority, after, limit, max_bytes, through) for priority in Priority if priority <= least)
        rows = sorted((row for found in each for row in found), key=lambda row: row.position)
        return _within([row for row in rows if row.boot == rows[0].boot][:limit], max_bytes)

    def _read(
        self, priority: Priority | None, after: Position, limit: int, max_bytes: int, through: Position
    ) -> list[Row]:
        query = "SELECT boot, seq, key, body FROM outbox WHERE (boot, seq) > (?, ?) AND (boot, seq) <= (?, ?)"
        values: list[int] = [*after, *through]
        if priority is not None:
            query += " AND priority = ?"
            values.append(priority)
        rows: list[Row] = []
        size = 0
        for boot, seq, key, body in self._db.execute(f"{query} ORDER BY boot, seq LIMIT ?", (*values, limit)):
            row = Row(boot, seq, self._opened(boot, seq, key, body))
            size += len(row.body) + 1
            if rows and (boot != rows[0].boot or size > max_bytes):
                break
            rows.append(row)
        return rows

    def _opened(self, boot: int, seq: int, key: int, body: bytes) -> bytes:
        if not key:
            return body
        if self._keys is None:
            raise StoreError("the outbox has sealed records", hint="set outbox_keys to the file of their keys")
        if not self._keys.has(key):
            raise self._keys.missing(key)
        try:
            return self._keys.open(key, body, self._name(boot, seq))
        except StoreError:  # the owner opened with these keys: this record alone is damaged
            return b""

    async def waiting(self) -> list[Waiting]:
        """Return the rest of each boot, oldest first, including those of which everything was dropped."""
        return await self._run(self._waiting)

    def _waiting(self) -> list[Waiting]:
        first: dict[int, int] = {}
        after = 0
        next_boot = "SELECT boot, seq FROM outbox WHERE boot > ? ORDER BY boot, seq LIMIT 1"
        while (found := self._db.execute(next_boot, (after,)).fetchone()) is not None:
            after, first[found[0]] = found[0], found[1]
        dropped = dict(self._db.execute("SELECT boot, through FROM dropped").fetchall())
        return [Waiting(boot, first.get(boot), dropped.get(boot, 0)) for boot in sorted(first | dropped)]

    async def newest(self) -> Position:
        """Return the position of the newest record, or BEGINNING."""

        def read() -> Position:
            found = self._db.execute("SELECT boot, seq FROM outbox ORDER BY boot DESC, seq DESC LIMIT 1").fetchone()
            return BEGINNING if found is None else (found[0], found[1])

        return await self._run(read)

    async def confirm(self, boot: int, through: int, beyond: Iterable[tuple[int, int]] = ()) -> int:
        """Delete the records of a boot up to a number, its dropped ones, and ranges `beyond`; return how many.

        This is not synchronised: a record that returns after a power cut is sent again and recognised there.
        """
        ranges = ((0, through), *beyond)
        return await self._run(lambda: self._confirm(boot, through, ranges))

    def _confirm(self, boot: int, through: int, ranges: Sequence[tuple[int, int]]) -> int:
        there = "boot = ? AND seq BETWEEN ? AND ?"
        freed = forgotten = 0
        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for first, last in ranges:
                query = f"SELECT coalesce(sum(length(body)), 0) FROM outbox WHERE {there}"  # noqa: S608
                freed += self._one(query, boot, first, last)
                forgotten += self._db.execute(f"DELETE FROM outbox WHERE {there}", (boot, first, last)).rowcount  # noqa: S608
            self._db.execute("DELETE FROM dropped WHERE boot = ? AND through <= ?", (boot, through))
            if freed:
                self._db.execute(_SET, ("bytes", self._bytes - freed))
            self._db.execute("COMMIT")
        finally:
            self._db.execute("PRAGMA synchronous = FULL")
        self._bytes -= freed
        return forgotten

    async def count(self) -> int:
        """Return the number of stored records."""
        return await self._run(lambda: self._one("SELECT count(*) FROM outbox"))

    async def close(self) -> None:
        """Finish pending work and close the database."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown()


def _within(rows: Sequence[Row], max_bytes: int) -> list[Row]:
    """Return the first rows up to a size, at least one."""
    size, found = 0, list[Row]()
    for row in rows:
        size += len(row.body) + 1
        if found and size > max_bytes:
            break
        found.append(row)
    return found


def _open(
    cls: type[Outbox],
    path: Path,
    ev: str,
    utc_s: int,
    max_bytes: int,
    keys: RecordKeys | None,
    thread: ThreadPoolExecutor,
) -> Outbox:
    try:
        path.touch(mode=0o600)
        database = sqlite3.connect(path, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: {error}", hint="is the folder writable?") from None
    try:
        return cls(database, thread, ev, _begin_boot(database, path, ev, utc_s, keys), max_bytes, keys)
    except sqlite3.Error as error:
        database.close()
        raise StoreError(f"{path}: {error}", hint="is the file an outbox, and the disk not full?") from None
    except StoreError:
        database.close()
        raise


def _begin_boot(database: sqlite3.Connection, path: Path, ev: str, utc_s: int, keys: RecordKeys | None) -> int:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    if keys is not None:
        database.execute("PRAGMA secure_delete = ON")  # records from the time before the keys
    database.executescript(_SCHEMA)
    database.execute("BEGIN IMMEDIATE")
    _update(database)
    _check_owner(database, path, ev, keys)
    (last,) = database.execute("SELECT coalesce(max(value), 0) FROM meta WHERE key = 'boot'").fetchone()
    boot = max(int(last) + 1, utc_s)
    gone = "NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.boot = boots.boot) AND boot NOT IN (SELECT boot FROM dropped)"
    database.execute(f"DELETE FROM boots WHERE {gone}")  # noqa: S608 - our own text
    _begin(database, boot)
    database.execute("COMMIT")
    return boot


def _begin(database: sqlite3.Connection, boot: int) -> None:
    database.execute(_SET, ("boot", boot))
    database.execute(_NAME_BOOT, (boot, boot, secrets.token_hex(8)))


def _names(database: sqlite3.Connection) -> dict[int, BootName]:
    return {boot: BootName(number, boot_id) for boot, number, boot_id in database.execute("SELECT * FROM boots")}


def _update(database: sqlite3.Connection) -> None:
    """Add what an outbox of an earlier version lacks."""
    known = {name for _, name, *_ in database.execute("PRAGMA table_info(outbox)")}
    for name, value in _COLUMNS.items():
        if name not in known:
            database.execute(f"ALTER TABLE outbox ADD COLUMN {name} INTEGER NOT NULL DEFAULT {value}")
    database.execute("CREATE INDEX IF NOT EXISTS by_priority ON outbox (priority, boot, seq)")
    size = "INSERT OR IGNORE INTO meta SELECT 'bytes', coalesce(sum(length(body)), 0) FROM outbox"
    if database.execute("SELECT 1 FROM meta WHERE key = 'bytes'").fetchone() is None:
        database.execute(size)


def _check_owner(database: sqlite3.Connection, path: Path, ev: str, keys: RecordKeys | None) -> None:
    """Check that the outbox belongs to `ev`, and opens with these keys; seal its owner with the newest."""
    found = database.execute("SELECT ev FROM owner").fetchone()
    if found is not None and (owner := _owner(str(found[0]), path, keys)) != ev:
        raise StoreError(f"{path} is the outbox of {owner!r}, not of {ev!r}", hint="give each vehicle its own file")
    oldest = database.execute("SELECT key FROM outbox ORDER BY boot, seq LIMIT 1").fetchone()
    if oldest is not None and oldest[0] and keys is not None and not keys.has(oldest[0]):
        raise keys.missing(oldest[0])
    _set_owner(database, ev, keys)


def _set_owner(database: sqlite3.Connection, ev: str, keys: RecordKeys | None) -> None:
    text = ev
    if keys is not None:
        number, sealed = keys.seal(ev.encode(), _OWNER)
        text = f"{_SEALED}{number}:{sealed.hex()}"
    database.execute("DELETE FROM owner")
    database.execute("INSERT INTO owner VALUES (?)", (text,))


_SEALED: Final = "sealed/"
"""Begins a sealed owner: no pseudonym has a slash."""
_OWNER: Final = b"owner"


def _owner(text: str, path: Path, keys: RecordKeys | None) -> str:
    if not text.startswith(_SEALED):
        return text
    if keys is None:
        raise StoreError(f"{path} is sealed", hint="set outbox_keys to the file of its keys")
    number, _, sealed = text.removeprefix(_SEALED).partition(":")
    return keys.open(int(number), bytes.fromhex(sealed), _OWNER).decode()
