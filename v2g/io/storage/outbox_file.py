"""The file of an outbox: its tables, its state, and what remains of both when the disk has damaged it.

Records and state have checksums. The state is in two tables, so that one damaged page does not take it.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from v2g import typed_json
from v2g.errors import CodecError
from v2g.io.storage.journal_file import sync_directory
from v2g.io.storage.sqlite_pages import Value, rows, rows_committed
from v2g.telemetry.signals import decode_key

_BASE: Final = """
CREATE TABLE IF NOT EXISTS outbox (
    boot INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (boot, seq)
) WITHOUT ROWID;
"""
_COLUMNS: Final = {
    "priority": "INTEGER NOT NULL DEFAULT 3",
    "utc_ms": "INTEGER NOT NULL DEFAULT 0",
    "key": "INTEGER NOT NULL DEFAULT 0",
    "sum": "BLOB NOT NULL DEFAULT x''",
}
"""Columns that older outboxes lack, with the value for their records. `key`: number of the key, 0 without one."""
_REST: Final = """
CREATE INDEX IF NOT EXISTS by_priority ON outbox (priority, boot, seq);
CREATE TABLE state (place INTEGER PRIMARY KEY, body BLOB NOT NULL, sum BLOB NOT NULL);
CREATE TABLE spare (place INTEGER PRIMARY KEY, body BLOB NOT NULL, sum BLOB NOT NULL);
"""
_PUT_RAW: Final = (
    "INSERT OR IGNORE INTO outbox (boot, seq, body, priority, utc_ms, key, sum) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_READONLY,
    }
)
"""Errors of a computer in trouble; all others say that the content of the file is wrong."""


_EMPTY: Final = 4096
"""Size of a new database."""


class Damage(Exception):
    """The content of the file is wrong."""


class OutboxBoot(msgspec.Struct):
    """A start: its `number` at the back end, its random id (empty: of an earlier version), the `last` number that a
    record got, and up to which the back end has `confirmed` them."""

    number: int
    boot_id: str
    last: int = 0
    confirmed: int = 0


class OutboxState(msgspec.Struct):
    """All but the records. `owner`: the sender, perhaps sealed; `highest`: the highest boot, or number of one;
    `gaps`: count, first and last time of dropped records by priority; `bytes` of the records; how many were `dropped`;
    `unchecked`: records up to this boot have no checksum; `schema`: digest of the tables."""

    owner: str
    version: int = 0
    highest: int = 0
    boots: dict[int, OutboxBoot] = {}
    gaps: dict[int, tuple[int, int, int]] = {}
    bytes: int = 0
    dropped: int = 0
    unchecked: int = 0
    schema: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = typed_json.packed(OutboxState)


def record_sum(ev: str, boot: int, seq: int, priority: int, utc_ms: int, key: int, body: bytes) -> bytes:
    """Return the checksum of a record as it is in the file."""
    name = f"{ev}/{boot}/{seq}/{priority}/{utc_ms}/{key}/".encode()
    return hashlib.blake2b(name + body, digest_size=8).digest()


def is_intact(ev: str, state: OutboxState, values: Sequence[Any]) -> bool:
    """Return whether boot, seq, body, priority, utc_ms, key and sum of a record are as they were written."""
    boot, seq, body, priority, utc_ms, key, checked = values
    if boot not in state.boots or not isinstance(seq, int) or not 0 < seq <= state.boots[boot].last:
        return False
    if checked == b"" and boot <= state.unchecked:
        return isinstance(body, bytes | str)
    return isinstance(body, bytes) and checked == record_sum(ev, boot, seq, priority, utc_ms, key, body)


def copy_of(state: OutboxState) -> OutboxState:
    return _decode(_encode(state))


def save_state(database: sqlite3.Connection, state: OutboxState) -> None:
    """Write the state, in a transaction."""
    state.version += 1
    body = _encode(state)
    for table in ("state", "spare"):
        put = f"INSERT OR REPLACE INTO {table} (place, body, sum) VALUES (1, ?, ?)"  # noqa: S608 - our own text
        database.execute(put, (body, _state_sum(body)))


def _state_sum(body: bytes) -> bytes:
    return hashlib.blake2b(b"state/" + body, digest_size=8).digest()


def _state_of(body: object, checked: object) -> OutboxState | None:
    """Return the state in a row, None if it is damaged, or something else."""
    if not isinstance(body, bytes) or checked != _state_sum(body):
        return None
    return _decode(body)


def load(database: sqlite3.Connection, path: Path, log: bytes) -> OutboxState | None:
    """Return the state in a database, None in a new one; an earlier version's is taken over in a transaction.

    `log`: its write-ahead log as it was before, of which SQLite skips all from a damaged page on. Raises Damage,
    sqlite3.Error.
    """
    logged = max((each.version for row in rows_committed(log) if (each := _state_in(row)) is not None), default=0)
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        if path.stat().st_size > _EMPTY:
            raise Damage("no tables")
        state: OutboxState | None = None
    elif "meta" in tables:
        state = _taken_over(database, tables)
    else:
        row = database.execute("SELECT body, sum FROM state").fetchone()
        state = None if row is None else _state_of(*row)
        if state is None or state.schema != schema_of(database):
            raise Damage("no state")
        held = database.execute("PRAGMA page_count").fetchone()[0] * database.execute("PRAGMA page_size").fetchone()[0]
        if not 0 <= state.bytes <= held:
            raise Damage("the size is wrong")
    if logged > (0 if state is None else state.version):
        raise Damage("a part of the write-ahead log is lost")
    return state


def create(database: sqlite3.Connection, owner: str) -> OutboxState:
    """Create the tables, in a transaction; return the state."""
    for statement in (_BASE + _REST).split(";")[:-1]:
        database.execute(statement)
        if " outbox (" in statement and "TABLE" in statement:
            known = {name for _, name, *_ in database.execute("PRAGMA table_info(outbox)")}
            for name, kind in _COLUMNS.items():
                if name not in known:
                    database.execute(f"ALTER TABLE outbox ADD COLUMN {name} {kind}")
    return OutboxState(owner, schema=schema_of(database))


def schema_of(database: sqlite3.Connection) -> str:
    """Return the digest of the tables that belongs into the state: whoever adds to them writes it, too."""
    rows = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()
    return hashlib.blake2b(repr(rows).encode(), digest_size=8).hexdigest()


def _taken_over(database: sqlite3.Connection, tables: set[str]) -> OutboxState:
    """Return the state of an outbox of an earlier version, which had a table for each part of it."""

    def number(key: str) -> int:
        return int(database.execute("SELECT coalesce(max(value), 0) FROM meta WHERE key = ?", (key,)).fetchone()[0])

    owner = database.execute("SELECT ev FROM owner").fetchone()
    highest, dropped = number("boot"), number("dropped")
    gaps = (
        database.execute("SELECT priority, count, first_ms, last_ms FROM gaps").fetchall() if "gaps" in tables else []
    )
    lasts = database.execute("SELECT boot, through FROM dropped").fetchall() if "dropped" in tables else []
    lasts += database.execute("SELECT boot, max(seq) FROM outbox GROUP BY boot").fetchall()
    for table in tables & {"meta", "owner", "gaps", "dropped", "boots"}:
        database.execute(f"DROP TABLE {table}")
    create(database, "")
    (size,) = database.execute("SELECT coalesce(sum(length(body)), 0) FROM outbox").fetchone()
    boots: dict[int, OutboxBoot] = {}
    for boot, last in lasts:
        found = boots.setdefault(boot, OutboxBoot(boot, ""))
        found.last = max(found.last, last)
    return OutboxState(
        "" if owner is None else str(owner[0]),
        highest=highest,
        boots=boots,
        gaps={priority: (count, first, last) for priority, count, first, last in gaps},
        bytes=size,
        dropped=dropped,
        unchecked=max((highest, *boots)),
        schema=schema_of(database),
    )


def is_damage(error: Exception, path: Path) -> bool:
    """Return whether an error of SQLite, or ours, says that the content of the file is wrong."""
    if not isinstance(error, sqlite3.Error):
        return isinstance(error, Damage)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_READONLY:  # a header of a later version can only be read
        with contextlib.suppress(OSError), path.open("rb") as file:
            return any(each > 2 for each in file.read(20)[18:])
    return code not in _PASSING


def salvage(
    path: Path, log: bytes, ev: str, known: OutboxState | None, connect: Callable[[Path], sqlite3.Connection]
) -> int | None:
    """Set a damaged outbox aside, and put what its pages have of `ev` into a new one; return how many records.

    `log`: its write-ahead log; `known`: the state, if it is in memory. None: nothing in the file is from an outbox; it
    stays where it is. Raises sqlite3.Error, OSError.
    """
    found = (each for row in rows(path, log) if (each := _state_in(row)) is not None)
    state = known or max(found, key=lambda each: each.version, default=None)
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    database = connect(part)
    try:
        database.execute("BEGIN IMMEDIATE")
        schema = create(database, "").schema
        lost = state is None
        state = OutboxState("") if state is None else copy_of(state)
        state.schema, state.bytes = schema, 0
        for row in rows(path, log):
            values = _record_in(row)
            if values is None:
                continue
            boot, seq, body = values[:3]
            if lost and _is_of(ev, values):
                of = state.boots.setdefault(boot, OutboxBoot(boot, ""))
                of.last, state.highest = max(of.last, seq), max(state.highest, boot)
                state.unchecked = state.highest
            if is_intact(ev, state, values) and seq > state.boots[boot].confirmed:
                state.bytes += len(body) * database.execute(_PUT_RAW, tuple(values)).rowcount
        (count,) = database.execute("SELECT count(*) FROM outbox").fetchone()
        if lost and not count:
            return None
        save_state(database, state)
        database.execute("COMMIT")
    finally:
        database.close()
    part.rename(path.with_name(f"{path.name}.new"))
    finish_exchange(path)
    return int(count)


def _is_of(ev: str, values: Sequence[Any]) -> bool:
    """Return whether a record is a sender's: by its checksum, or of an earlier version by what it says."""
    boot, seq, body, priority, utc_ms, key, checked = values
    if checked or key:
        return bool(checked == record_sum(ev, boot, seq, priority, utc_ms, key, body))
    with contextlib.suppress(CodecError):
        name = decode_key(body)
        return (name.ev, name.boot, name.seq) == (ev, boot, seq)
    return False


def finish_exchange(path: Path) -> None:
    """Set the file aside for the new one that `salvage` has made, if there is one. Raises OSError."""
    new, aside = (path.with_name(f"{path.name}.{what}") for what in ("new", "damaged"))
    if not new.exists():
        return
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
    new.rename(path)
    sync_directory(path.parent)


def _state_in(row: Sequence[Value]) -> OutboxState | None:
    return _state_of(*row[1:]) if len(row) == 3 and row[0] is None else None


def _record_in(row: Sequence[Value]) -> list[Any] | None:
    """Return boot, seq, body, priority, utc_ms, key and sum in a row of `outbox`; earlier versions had shorter ones."""
    if not 3 <= len(row) <= 7:
        return None
    values = [*row, *(3, 0, 0, b"")[len(row) - 3 :]]
    if isinstance(values[2], str) and values[6] == b"":
        values[2] = values[2].encode()
    kinds = (int, int, bytes, int, int, int, bytes)
    return values if all(isinstance(each, kind) for each, kind in zip(values, kinds, strict=True)) else None
