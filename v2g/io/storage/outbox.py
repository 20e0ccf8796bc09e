"""A durable outbox: records in SQLite until the back end has stored them (R97, R102).

Each start is a boot, with a number and a random id. The number may be another sender's, if an outbox was lost or
copied; the back end notices it by the id, and the boot then takes another number: its records stay as they are.

The database is used in a separate thread, so no event loop waits for a disk. WAL, one transaction a call;
stored records survive kill -9. Beyond `max_bytes` the least important records are deleted, the oldest of them first;
gaps count them by priority until a record about each is in the outbox, so that the loss is visible (R103). With keys,
records are sealed in the file (R145).

What a disk has changed is not sent: a record with another checksum is deleted, and a file that does not hold together
is set aside as FILE.damaged, with what its pages still have in a new one. Numbers up to the `last` of a boot that are
not in the outbox are at the back end, or lost, which delivery reports.
"""

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from v2g.errors import StoreError
from v2g.io.storage import outbox_file
from v2g.io.storage.outbox_file import Damage, OutboxBoot, OutboxState, is_damage, is_intact, record_sum
from v2g.io.storage.record_keys import RecordKeys
from v2g.io.storage.sqlite_pages import read_log
from v2g.observe import Observe, Scalar
from v2g.telemetry.priority import LOW_RATE, Priority

R = TypeVar("R")

MAX_ISLANDS: Final = 100
"""Important records of one boot that may have less important ones between them. Sent ahead of those, each is a gap in
the numbers that have arrived, and back ends keep a limited number of gaps in each boot."""

_DROP_STEP: Final = 100

_PUT: Final = "INSERT OR IGNORE INTO outbox (boot, seq, priority, utc_ms, key, body, sum) VALUES (?, ?, ?, ?, ?, ?, ?)"
_STORED: Final = "boot, seq, body, priority, utc_ms, key, sum"

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


class OutboxEntry(msgspec.Struct, frozen=True):
    """A record for the outbox: its number, its priority, its time, its boot (None: the current one), and the gap that
    ends because it `reports` it."""

    seq: int
    body: bytes
    priority: Priority = Priority.LIVE
    utc_ms: int = 0
    boot: int | None = None
    reports: Gap | None = None


class OutboxRow(msgspec.Struct, frozen=True, array_like=True):
    """A stored record."""

    boot: int
    seq: int
    body: bytes

    @property
    def position(self) -> Position:
        return self.boot, self.seq


class Waiting(msgspec.Struct, frozen=True):
    """The rest of a boot: records from `first` on (None: none), and the `last` number that one had."""

    boot: int
    first: int | None
    last: int


class Outbox:
    """Records of one sender, keyed by `(boot, seq)`. Not safe for more than one process at a time.

    Every method but `open` raises StoreError when the disk fails.
    """

    def __init__(
        self,
        path: Path,
        ev: str,
        utc_s: int,
        max_bytes: int,
        keys: RecordKeys | None,
        thread: ThreadPoolExecutor,
        report: Callable[[Observe], None],
    ) -> None:
        """Called by `open`."""
        self._path, self._ev, self._max_bytes, self._keys = path, ev, max_bytes, keys
        self._thread, self._report = thread, report
        self._db, self._state = self._opened()
        self.boot = max(self._state.highest + 1, utc_s)
        """The number of this start: higher than earlier ones."""
        self.commits = 0
        """Durable commits since the start: each waits for the disk."""
        self._islands, self._on_island = 0, False
        self._change(lambda state: self._begin(state, self.boot, ()))

    @classmethod
    async def open(
        cls,
        path: Path,
        ev: str,
        utc_s: int,
        *,
        max_bytes: int = 1 << 30,
        keys: RecordKeys | None = None,
        observe: Callable[[Observe], None] = lambda _: None,
    ) -> "Outbox":
        """Open the outbox of `ev`, created when missing, and begin a boot.

        `utc_s` is the time, s since 1970: boots count from it, so that a new outbox seldom repeats the numbers of
        a lost one. `keys` seal new records, and open sealed ones. `observe` gets the events `outbox_damaged` (the file
        that was set aside, and how many records were in it) and `record_unreadable`. Raises StoreError: the file
        cannot be used, is another sender's, or sealed with other keys.
        """
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")
        loop = asyncio.get_running_loop()

        def report(event: Observe) -> None:
            loop.call_soon_threadsafe(observe, event)

        try:
            return await loop.run_in_executor(thread, lambda: cls(path, ev, utc_s, max_bytes, keys, thread, report))
        except BaseException:
            thread.shutdown(wait=False)
            raise

    async def _run(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: self._safely(work))

    def _safely(self, work: Callable[[], R]) -> R:
        """Do it, once more after damage. Raises StoreError."""
        try:
            try:
                return work()
            except (sqlite3.Error, Damage) as error:
                self._roll_back()
                if not is_damage(error, self._path):
                    raise
            log = read_log(self._path)
            self._db.close()
            self._db, self._state = self._opened(log, self._state)
            return work()
        except (sqlite3.Error, Damage, OSError) as error:
            self._roll_back()
            raise StoreError(f"telemetry outbox: {error}", hint="is the disk full or the file damaged?") from None

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _opened(self, log: bytes = b"", damaged: OutboxState | None = None) -> tuple[sqlite3.Connection, OutboxState]:
        """Open the file; one of which the state is known, and the log, is `damaged`. Raises StoreError."""
        try:
            if damaged is None:
                outbox_file.finish_exchange(self._path)
                log = read_log(self._path)
                try:
                    return self._loaded(log)
                except (sqlite3.Error, Damage) as error:
                    if not is_damage(error, self._path):
                        raise
            records = outbox_file.salvage(self._path, log, self._ev, damaged, self._connect)
            if records is None:
                raise StoreError(f"{self._path} is no outbox", hint="name another file")
            facts: dict[str, Scalar] = {"file": f"{self._path}.damaged", "records": records}
            self._report(Observe("telemetry", "outbox_damaged", facts))
            return self._loaded(b"")
        except (sqlite3.Error, Damage, OSError) as error:
            hint = "is the folder writable, the file an outbox, and the disk not full?"
            raise StoreError(f"{self._path}: {error}", hint=hint) from None

    def _connect(self, path: Path) -> sqlite3.Connection:
        database = sqlite3.connect(path, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = FULL")
            if self._keys is not None:
                database.execute("PRAGMA secure_delete = ON")  # records from the time before the keys
        except BaseException:
            database.close()
            raise
        return database

    def _loaded(self, log: bytes) -> tuple[sqlite3.Connection, OutboxState]:
        self._path.touch(mode=0o600)
        database = self._connect(self._path)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("BEGIN IMMEDIATE")
            state = outbox_file.load(database, self._path, log) or outbox_file.create(database, "")
            # check that the outbox belongs to the sender, and opens with these keys
            text = state.owner
            if text.startswith(_SEALED):
                if self._keys is None:
                    raise StoreError(f"{self._path} is sealed", hint="set outbox_keys to the file of its keys")
                number, _, sealed = text.removeprefix(_SEALED).partition(":")
                text = self._keys.open(int(number), bytes.fromhex(sealed), _OWNER).decode()
            if text not in ("", self._ev):
                raise StoreError(
                    f"{self._path} is the outbox of {text!r}, not of {self._ev!r}",
                    hint="give each vehicle its own file",
                )
            # check that the oldest record opens: keys may be deleted once no record needs them. Raises StoreError
            query = f"SELECT {_STORED} FROM outbox ORDER BY boot, seq LIMIT 1"  # noqa: S608 - our own text
            row = database.execute(query).fetchone()
            if row is not None and row[5] and self._keys is not None and is_intact(self._ev, state, row):
                self._require(row[5])
            state.owner = self._owner()
            outbox_file.save_state(database, state)
            database.execute("COMMIT")
        except BaseException:
            database.close()
            raise
        return database, state

    def _owner(self) -> str:
        if self._keys is None:
            return self._ev
        number, sealed = self._keys.seal(self._ev.encode(), _OWNER)
        return f"{_SEALED}{number}:{sealed.hex()}"

    def _require(self, key: int) -> None:
        if self._keys is None:
            raise StoreError("the outbox has sealed records", hint="set outbox_keys to the file of their keys")
        if not self._keys.has(key):
            raise self._keys.missing(key)

    def _change(self, work: Callable[[OutboxState], R]) -> R:
        """Change records and state in one transaction. Raises StoreError."""

        def change() -> R:
            state = outbox_file.copy_of(self._state)
            self._db.execute("BEGIN IMMEDIATE")
            result = work(state)
            outbox_file.save_state(self._db, state)
            self._db.execute("COMMIT")
            self._state = state
            return result

        return self._safely(change)

    async def _changed(self, work: Callable[[OutboxState], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: self._change(work))

    def _begin(self, state: OutboxState, boot: int, keep: Sequence[int]) -> None:
        """Begin a boot, and forget those of which the back end has everything."""
        for each, found in list(state.boots.items()):
            there = "SELECT 1 FROM outbox WHERE boot = ? LIMIT 1"
            if each not in keep and found.confirmed >= found.last and not self._db.execute(there, (each,)).fetchone():
                del state.boots[each]
        state.boots[boot], state.highest = OutboxBoot(boot, secrets.token_hex(8)), boot

    @property
    def dropped(self) -> int:
        """How many records were dropped for lack of space, over the outbox's whole life."""
        return self._state.dropped

    @property
    def size(self) -> int:
        """Size of the stored records, octets."""
        return self._state.bytes

    @property
    def crowded(self) -> bool:
        """Whether this boot has so many important records that `next_boot` is due."""
        return self._islands >= MAX_ISLANDS

    async def next_boot(self) -> int:
        """Begin another boot; return its number."""

        def begin(state: OutboxState) -> int:
            boot = state.highest + 1
            self._begin(state, boot, (self.boot,))  # of which records may still come
            return boot

        self.boot = await self._changed(begin)
        self._islands, self._on_island = 0, False
        return self.boot

    def name(self, boot: int) -> BootName:
        """Return the name of a boot at the back end."""
        found = self._state.boots.get(boot)
        return BootName(boot, "") if found is None else BootName(found.number, found.boot_id)

    def boot_named(self, name: BootName) -> int | None:
        """Return the boot of a name; None: it is another outbox's."""
        boots = self._state.boots.items()
        return next((boot for boot, each in boots if (each.number, each.boot_id) == (name.number, name.boot_id)), None)

    async def renumber(self, boots: Iterable[int], first: int) -> None:
        """Give boots other numbers at the back end, in their order, from `first` on; later boots have higher ones."""

        def change(state: OutboxState) -> None:
            for number, boot in enumerate(sorted(boots), max(first, state.highest + 1)):
                each = state.boots[boot]
                each.number, each.boot_id, state.highest = number, each.boot_id or secrets.token_hex(8), number

        await self._changed(change)

    async def put(self, seq: int, body: bytes, priority: Priority = Priority.LIVE, utc_ms: int = 0) -> int:
        """Store one record of this boot; see `put_all`."""
        return await self.put_all((OutboxEntry(seq, body, priority, utc_ms),))

    async def put_all(self, entries: Sequence[OutboxEntry]) -> int:
        """Store records durably, in rising order and one commit; return how many were dropped for them.

        Idempotent: one that was stored before, as by a call whose caller was cancelled, does not return after the back
        end has it.
        """
        gone = await self._changed(lambda state: self._put(state, entries))
        self.commits += 1
        for each in entries:
            important = each.priority <= LOW_RATE
            self._islands += important and not self._on_island
            self._on_island = important
        return gone

    def _put(self, state: OutboxState, entries: Sequence[OutboxEntry]) -> int:
        for each in entries:
            boot = self.boot if each.boot is None else each.boot
            of = state.boots.setdefault(boot, OutboxBoot(boot, ""))
            if each.seq <= of.last:
                continue
            key, body = self._keys.seal(each.body, self._name(boot, each.seq)) if self._keys else (0, each.body)
            checked = record_sum(self._ev, boot, each.seq, each.priority, each.utc_ms, key, body)
            row = boot, each.seq, int(each.priority), each.utc_ms, key, body, checked
            added = self._db.execute(_PUT, row).rowcount
            state.bytes += len(body) * added
            of.last = each.seq
            if added and each.reports is not None:
                gap = each.reports
                count, _, last = state.gaps.pop(gap.priority, (0, 0, 0))
                if count > gap.count:
                    state.gaps[gap.priority] = count - gap.count, gap.last_ms, last
        # delete the least important records beyond the limit; return how many
        gone = 0
        query = f"SELECT {_STORED} FROM outbox WHERE priority = ? ORDER BY boot, seq LIMIT ?"  # noqa: S608 - our own text
        for priority in sorted(Priority, reverse=True)[:-1]:  # settlement stays
            while state.bytes > self._max_bytes:
                found = self._db.execute(query, (priority, _DROP_STEP)).fetchall()
                for row in found:
                    if state.bytes <= self._max_bytes:
                        break
                    self._delete(state, row)
                    if is_intact(self._ev, state, row):
                        utc_ms = row[4]
                        count, first, last = state.gaps.get(priority, (0, utc_ms, utc_ms))
                        state.gaps[priority] = count + 1, min(first, utc_ms), max(last, utc_ms)
                        gone += 1
                if not found:
                    break
        state.dropped += gone
        return gone

    async def renew_keys(self) -> bool:
        """Read the keys again if their file has changed; return whether it has (R152). Raises as `RecordKeys`."""

        def renew() -> bool:
            if self._keys is None or not self._keys.renew():
                return False

            def seal(state: OutboxState) -> None:
                state.owner = self._owner()

            self._change(seal)
            return True

        return await asyncio.get_running_loop().run_in_executor(self._thread, renew)

    def _name(self, boot: int, seq: int) -> bytes:
        return f"{self._ev}/{boot}/{seq}".encode()

    def _delete(self, state: OutboxState, row: Sequence[object]) -> None:
        if self._db.execute("DELETE FROM outbox WHERE boot = ? AND seq = ?", row[:2]).rowcount != 1:
            raise Damage("a record is not at its place")
        state.bytes -= len(row[2]) if isinstance(row[2], bytes | str) else 0

    async def gaps(self) -> list[Gap]:
        """Return the gaps that no record reports yet, the most important first."""
        return [Gap(Priority(priority), *rest) for priority, rest in sorted(self._state.gaps.items())]

    async def pending(
        self,
        after: Position = BEGINNING,
        limit: int = 100,
        max_bytes: int = 1 << 30,
        *,
        through: Position = END,
        least: Priority | None = None,
    ) -> list[OutboxRow]:
        """Return up to `limit` records after a position, oldest first: of one boot, and no more than `max_bytes`.

        Each counts with one more byte for a separator. The first is returned however large it is. `through` is the last
        position; records less important than `least` are left out. Damaged records are deleted, with an event.
        Raises StoreError also for a missing key.
        """
        return await self._run(lambda: self._pending(after, limit, max_bytes, through, least))

    def _pending(
        self, after: Position, limit: int, max_bytes: int, through: Position, least: Priority | None
    ) -> list[OutboxRow]:
        if least is None:
            return self._read(None, after, limit, max_bytes, through)
        each = (self._read(priority, after, limit, max_bytes, through) for priority in Priority if priority <= least)
        rows = sorted((row for found in each for row in found), key=lambda row: row.position)
        return _within([row for row in rows if row.boot == rows[0].boot][:limit], max_bytes)

    def _read(
        self, priority: Priority | None, after: Position, limit: int, max_bytes: int, through: Position
    ) -> list[OutboxRow]:
        query = f"SELECT {_STORED} FROM outbox WHERE (boot, seq) > (?, ?) AND (boot, seq) <= (?, ?)"  # noqa: S608
        values: list[int] = [*after, *through]
        if priority is not None:
            query += " AND priority = ?"
            values.append(priority)
        while True:
            rows: list[OutboxRow] = []
            damaged: list[Sequence[object]] = []
            size = 0
            for found in self._db.execute(f"{query} ORDER BY boot, seq LIMIT ?", (*values, limit)):
                body = self._body(found)
                if body is None:
                    damaged.append(found)
                    continue
                row = OutboxRow(found[0], found[1], body)
                size += len(row.body) + 1
                if rows and (row.boot != rows[0].boot or size > max_bytes):
                    break
                rows.append(row)
            if damaged:
                self._give_up(damaged)
            if rows or not damaged:
                return rows

    def _body(self, row: Sequence[Any]) -> bytes | None:
        """Return the content of a record as it was put; None: it is damaged."""
        boot, seq, body, _, _, key, _ = row
        if not is_intact(self._ev, self._state, row):
            return None
        if not key:
            return body.encode() if isinstance(body, str) else bytes(body)
        self._require(key)
        assert self._keys is not None
        try:
            return self._keys.open(key, body, self._name(boot, seq))
        except StoreError:  # the owner opened with these keys: this record alone is damaged
            return None

    def _give_up(self, damaged: Sequence[Sequence[Any]]) -> None:
        def delete(state: OutboxState) -> None:
            for row in damaged:
                self._delete(state, row)

        self._change(delete)
        for boot, seq, *_ in damaged:
            self._report(Observe("telemetry", "record_unreadable", {"boot": boot, "seq": seq}))

    async def waiting(self) -> list[Waiting]:
        """Return the rest of each boot, oldest first, including those of which nothing is left to send."""
        return await self._run(self._waiting)

    def _waiting(self) -> list[Waiting]:
        first: dict[int, int] = {}
        after = 0
        next_boot = "SELECT boot, seq FROM outbox WHERE boot > ? ORDER BY boot, seq LIMIT 1"
        while (found := self._db.execute(next_boot, (after,)).fetchone()) is not None:
            if found[0] not in self._state.boots:
                raise Damage(f"records of an unknown boot {found[0]}")
            after, first[found[0]] = found[0], found[1]
        return [
            Waiting(boot, first.get(boot), each.last)
            for boot, each in sorted(self._state.boots.items())
            if boot in first or each.confirmed < each.last
        ]

    async def newest(self) -> Position:
        """Return a position from which on there are no records yet, or BEGINNING."""
        boots = self._state.boots.items()
        return max(((boot, each.last) for boot, each in boots if each.confirmed < each.last), default=BEGINNING)

    async def confirm(self, boot: int, through: int, beyond: Iterable[tuple[int, int]] = ()) -> int:
        """Delete the records of a boot up to a number, and of ranges `beyond`; return how many.

        This is not synchronised: a record that returns after a power cut is sent again and recognised there.
        """
        ranges = ((0, through), *beyond)
        return await self._run(lambda: self._confirm(boot, through, ranges))

    def _confirm(self, boot: int, through: int, ranges: Sequence[tuple[int, int]]) -> int:
        there = "boot = ? AND seq BETWEEN ? AND ?"

        def delete(state: OutboxState) -> int:
            forgotten = 0
            for first, last in ranges:
                query = f"SELECT coalesce(sum(length(body)), 0) FROM outbox WHERE {there}"  # noqa: S608
                state.bytes -= self._db.execute(query, (boot, first, last)).fetchone()[0]
                forgotten += self._db.execute(f"DELETE FROM outbox WHERE {there}", (boot, first, last)).rowcount  # noqa: S608
            if boot in state.boots:
                state.boots[boot].confirmed = max(through, state.boots[boot].confirmed)
            return forgotten

        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            return self._change(delete)
        finally:
            self._db.execute("PRAGMA synchronous = FULL")

    async def count(self) -> int:
        """Return the number of stored records."""
        return await self._run(lambda: int(self._db.execute("SELECT count(*) FROM outbox").fetchone()[0]))

    async def close(self) -> None:
        """Finish pending work and close the database."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown()


_SEALED: Final = "sealed/"
"""Begins a sealed owner: no pseudonym has a slash."""
_OWNER: Final = b"owner"


def _within(rows: Sequence[OutboxRow], max_bytes: int) -> list[OutboxRow]:
    """Return the first rows up to a size, at least one."""
    size, found = 0, list[OutboxRow]()
    for row in rows:
        size += len(row.body) + 1
        if found and size > max_bytes:
            break
        found.append(row)
    return found
