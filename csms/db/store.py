"""The database: opened, migrated, and used in threads, so that the event loop never waits for a disk.

SQLite in WAL mode with full synchronisation, or PostgreSQL: data acknowledged to a station or gateway survives
kill -9 and a power cut. An operation is a function, usually of a feature's `store`, that takes a Connection.
"""

import asyncio
import contextlib
import glob
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from csms.db.group_commit import FRESH_S, GroupCommit, as_store_error, said
from csms.db.sqlite import READS, WalCheckpoints, WriteTurn, empty_log, sqlite_engine
from csms.telemetry.tables import VALUES, telemetry
from v2g.errors import ConfigError, StoreError
from v2g.io.storage.journal_file import open_alone, sync_directory

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

OLDEST: Final = "0042"
"""The first revision that is migrated: that of release 0.2.0."""
HEAD = "0097"
"""That of the declared tables: another change of them has another one (a test checks it)."""
READABLE_BY: Final = "0088"
"""The oldest HEAD whose program works with these tables: an older one would not sum up what it books."""

_log = logging.getLogger(__name__)

_READERS: Final = 2
_ASKERS: Final = 2
"""Threads that read for callers of the API: a report of years reads for seconds, and stations do not wait for it."""
_COPY_S: Final = 7 * 86_400
"""How long a copy of an older revision is kept."""
_MIGRATING: Final = 0x7632_6763_736D  # key of the lock during a migration


class Store:
    """A database at `url` (`sqlite:///FILE`, `postgresql://...`). Opening it creates or migrates it.

    Every method raises StoreError.
    """

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        try:
            _keep_copy(self.engine)
            migrate(self.engine)
        except SQLAlchemyError as error:
            self.engine.dispose()
            shown = self.engine.url.render_as_string(hide_password=True)
            raise StoreError(
                f"{shown}: {said(error)}",
                hint="can this user write there, and is it a CSMS database? v2g csms migrate --user OWNER where it has "
                "one",
            ) from error
        except BaseException:
            self.engine.dispose()
            raise
        self._reading = self.engine.execution_options(**{READS: True})
        self._readers = ThreadPoolExecutor(max_workers=_READERS, thread_name_prefix="store-reader")
        self._askers = ThreadPoolExecutor(max_workers=_ASKERS, thread_name_prefix="store-asker")
        file = self.engine.url.database if self.engine.dialect.name == "sqlite" else None
        self._one_report = asyncio.Lock()
        self._turn = WriteTurn(file) if file else None
        self._checkpoints = WalCheckpoints(self.engine) if self.engine.dialect.name == "sqlite" else None
        self._writer = GroupCommit(self.engine, self._turn)
        self._looker = GroupCommit(self._reading)

    def set_option(self, name: str, value: object) -> None:
        """Give all later operations an execution option: `connection.get_execution_options()`."""
        for engine in (self.engine, self._reading):
            engine.update_execution_options(**{name: value})

    @property
    def waiting(self) -> int:
        """Number of operations that wait for the writer."""
        return self._writer.waiting

    @property
    def reports_waiting(self) -> int:
        """Number of those that wait behind all others."""
        return self._writer.reports_waiting

    async def run(self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work(connection, ...)` on the writer's thread; return its result when it is durable.

        An exception rolls it back. Operations share commits: one may run twice, with the first run rolled back.
        """
        return await self._writer.run(_bound(work, *args, **kwargs))

    async def gather(self, work: Callable[[Connection, list[T]], list[R]], item: T) -> R:
        """As `run`, together with all items queued for the same `work`, which returns a result for each."""
        return await self._writer.gather(work, item)

    async def report(self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As `run`, for readings, which wait behind all else when the database is slower than what comes."""
        return await self._writer.run(_bound(work, *args, **kwargs), report=True)

    async def gather_reports(self, work: Callable[[Connection, list[T]], list[R]], item: T) -> R:
        """As `gather`, for readings."""
        return await self._writer.gather(work, item, report=True)

    async def look_up(self, work: Callable[[Connection, list[T]], list[R]], item: T) -> R:
        """As `gather`, for a read-only operation, beside the writer: it sees everything that `run` has answered."""
        return await self._looker.gather(work, item)

    async def read(self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the read-only `work(connection, ...)` beside the writer: it sees everything that `run` has answered."""
        call = partial(_do, self._reading, _bound(work, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)

    async def read_for_caller(
        self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """As `read`, in threads for callers of the API alone."""
        call = partial(_do, self._reading, _bound(work, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._askers, call)

    async def read_report(self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As `read_for_caller`, for what reads for seconds: one after the other, while others are answered."""
        async with self._one_report:
            return await self.read_for_caller(work, *args, **kwargs)

    def do(self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As `run`, synchronously in the calling thread: for start-up, readers and tests."""
        return _do(self.engine, _bound(work, *args, **kwargs))

    async def forget(self) -> None:
        """Let no file have what was deleted: empty SQLite's write-ahead log. Raises StoreError."""
        if self._checkpoints is not None:
            await asyncio.to_thread(empty_log, self.engine)

    def delete_copies(self) -> None:
        """Delete copies of the file from before a migration after a week: they have what was erased since. Raises
        OSError."""
        if self.engine.dialect.name == "sqlite" and (path := self.engine.url.database):
            for copy in Path(path).parent.glob(f"{glob.escape(Path(path).name)}.revision-*"):
                if time.time() - copy.stat().st_mtime > _COPY_S:
                    copy.unlink(missing_ok=True)

    def close(self) -> None:
        """Finish pending operations, then close the database."""
        self._writer.close()
        self._looker.close()
        if self._turn is not None:
            self._turn.close()
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._readers.shutdown(wait=True)
        self._askers.shutdown(wait=True)
        self.engine.dispose()


def _bound(
    work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
) -> Callable[[Connection], R]:
    return lambda connection: work(connection, *args, **kwargs)


def _do(engine: Engine, work: Callable[[Connection], R]) -> R:
    try:
        with engine.begin() as connection:
            return work(connection)
    except Exception as error:
        failure = as_store_error(error)
        if failure is error:
            raise
        raise failure from error


def open_sqlite(path: Path) -> Store:
    """Return the store in the file `path`, readable only by its owner. Raises StoreError."""
    return Store(_make_file(path))


def open_store(url: str, data_dir: Path) -> Store:
    """Return the store at `url`, or in `data_dir` when that is empty; the folder is made anyhow. Raises StoreError."""
    _make_folder(data_dir)
    return Store(address(url, data_dir))


def address(url: str, data_dir: Path) -> str:
    """Return the URL of the database: `url`, or a file in `data_dir`, created when missing. Raises StoreError."""
    return url or _make_file(data_dir / "csms.sqlite3")


def as_user(url: str, user: str) -> str:
    """Return the URL with another role of PostgreSQL, without the former password; unchanged for "".

    Raises ConfigError for databases without roles.
    """
    if not user:
        return url
    address = _read_url(url)
    if address.get_backend_name() != "postgresql":
        raise ConfigError("a SQLite database has no roles", hint="leave --user out, or see store_url")
    other = URL.create(
        address.drivername, user, host=address.host, port=address.port, database=address.database, query=address.query
    )
    return other.render_as_string(hide_password=False)


def _read_url(url: str) -> URL:
    try:
        return make_url(url)
    except SQLAlchemyError as error:
        raise StoreError(f"store_url: {error}", hint="sqlite:///FILE or postgresql://user@host/name") from None


def _make_file(path: Path) -> str:
    _make_folder(path.parent)
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error}", hint=_WRITABLE) from error
    return f"sqlite:///{path}"


def hold(url: str, data_dir: Path) -> list[int]:
    """Return descriptors of files by which this program alone uses `data_dir`, made if missing, and the file of SQLite
    at `url`, until they are closed.

    Else a second back end migrates the database below the first one, and does its work once more. Raises StoreError.
    """
    _make_folder(data_dir)
    database = _read_url(address(url, data_dir))
    held = [_hold(data_dir / "csms.lock", f"another back end uses {data_dir}", "name another data_dir")]
    if database.get_backend_name() == "sqlite" and database.database:
        file = Path(database.database).resolve()  # by whatever link both come to it
        why, else_ = f"another back end uses the database {file}", "several nodes share one of PostgreSQL"
        try:
            held.append(_hold(file.with_name(f"{file.name}.lock"), why, else_))
        except StoreError:
            os.close(held[0])
            raise
    return held


def _hold(path: Path, why: str, else_: str) -> int:
    try:
        return open_alone(path)
    except BlockingIOError:
        raise StoreError(why, hint=f"stop that one, or {else_}") from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint=_WRITABLE) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(f"{folder}: {error}", hint=_WRITABLE) from error


_WRITABLE: Final = "choose a data_dir that this user may write"


def _keep_copy(engine: Engine) -> None:
    """Keep a file of SQLite beside it before a migration that shuts out the program that used it, for a way back.

    A copy that fails, as for want of space, is logged only. `Store.delete_copies` deletes it after a week.
    """
    path = engine.url.database
    if engine.dialect.name != "sqlite" or not path:
        return
    with engine.connect().execution_options(**{READS: True}) as connection:
        found = revision_of(connection)
    if found is None or found >= READABLE_BY:
        return
    copy = Path(f"{path}.revision-{found}")
    part = copy.with_name(f"{copy.name}.part")
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("VACUUM INTO ?", (str(part),))
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(copy)
        sync_directory(copy.parent)
    except (sqlite3.Error, OSError) as error:
        part.unlink(missing_ok=True)
        _log.warning("%s: no copy of revision %s, to go back to: %s", path, found, error)
    else:
        _log.warning("%s: only newer programs can use it from now on; for the former one, put %s there", path, copy)


def migrate(engine: Engine) -> None:
    """Migrate the database, one node at a time; StoreError for a newer one, unless it is readable.

    It gets a column for each known signal of telemetry, also of those that are newer than its revision.
    """
    with engine.connect().execution_options(**{READS: True}) as connection:
        if _is_usable(connection, revision_of(connection)):
            return
    with engine.begin() as connection:  # of SQLite this takes the lock: another program may have been faster
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATING})
        found = revision_of(connection)
        if _is_usable(connection, found):  # since another node, also a newer one, has migrated it
            return
        if found is not None and found < OLDEST:
            raise StoreError(
                f"the database is of revision {found}, which is older than release 0.2.0",
                hint="start release 0.2.0 once, which migrates it",
            )
        if found is not None and found > HEAD:
            raise StoreError(
                f"cannot migrate the database: revision {found} is unknown", hint="was it written by a newer version?"
            )
        if found is None:
            from csms.db.schema import declared_for  # here: it loads what features store, by this module

            declared_for(connection).create_all(connection, checkfirst=False)
            version = "version_num VARCHAR(32) NOT NULL, oldest_reader VARCHAR(32)"
            key = "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)"
            connection.execute(text(f"CREATE TABLE alembic_version ({version}, {key})"))
            connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:head)"), {"head": HEAD})
        else:
            for signal in _missing_signals(connection):
                _add_signal(connection, signal)
            if found < HEAD:
                from csms.db.migrations.revisions import upgrade  # here: only for an old database

                upgrade(connection, found, HEAD)
        connection.execute(text("UPDATE alembic_version SET oldest_reader = :oldest"), {"oldest": READABLE_BY})


def _is_usable(connection: Connection, found: str | None) -> bool:
    """Return whether this program works with a database of the revision `found` as it is."""
    if found is None or found < HEAD:
        return False
    if found == HEAD:
        return not _missing_signals(connection)
    said: str | None = connection.execute(text("SELECT oldest_reader FROM alembic_version")).scalar()
    return said is not None and said <= HEAD


def _missing_signals(connection: Connection) -> list[str]:
    """Return the signals without a column."""
    there = {each["name"] for each in inspect(connection).get_columns("telemetry")}
    return [signal for signal, column in VALUES.items() if column not in there]


def _add_signal(connection: Connection, signal: str) -> None:
    """Add a signal's column, with the values of stored records."""
    column = VALUES[signal]
    kind = telemetry.c[column].type.compile(connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE telemetry ADD COLUMN {column} {kind}")
    if connection.dialect.name == "postgresql":
        value = "(convert_from(document, 'UTF8')::json -> 'signals' ->> :signal)::double precision"
        connection.execute(text(f"UPDATE telemetry SET {column} = {value} WHERE present IS NULL"), {"signal": signal})  # noqa: S608 - ours
    else:
        value = "json_extract(CAST(document AS TEXT), :path)"
        path = f'$.signals."{signal}"'
        connection.execute(text(f"UPDATE telemetry SET {column} = {value} WHERE present IS NULL"), {"path": path})  # noqa: S608 - ours


def shut_out(url: str, data_dir: Path) -> str:
    """Return why the program that used a database last could not use it after this one; empty if it could.

    Raises StoreError.
    """
    engine = open_engine(address(url, data_dir))
    try:
        with engine.connect() as connection:
            found = revision_of(connection)
    except SQLAlchemyError as error:
        raise as_store_error(error) from error
    finally:
        engine.dispose()
    if found is None or found >= READABLE_BY:
        return ""
    return (
        f"the database is of revision {found}, and after a migration to {HEAD} only {READABLE_BY} or newer can use it"
    )


def revision_of(connection: Connection) -> str | None:
    """Return the revision of a database, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def open_engine(url: str) -> Engine:
    """Return the engine for `url`. Raises StoreError for an unusable one."""
    address = _read_url(url)
    if address.get_backend_name() == "postgresql":
        options = {"prepare_threshold": 2, "connect_timeout": 10, "application_name": "v2g csms"}
        engine = create_engine(
            address.set(drivername="postgresql+psycopg"),
            pool_size=_READERS + _ASKERS + 2,
            connect_args=options,
            hide_parameters=True,  # a traceback in the log shows no values
        )
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", partial(_ping, engine))
        return engine
    if address.get_backend_name() != "sqlite":
        raise StoreError(f"no driver for {address.drivername!r}", hint="sqlite:///FILE or postgresql://user@host/name")
    return sqlite_engine(address, _READERS + _ASKERS + 3)


def _note_use(_connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    entry.info["used_s"] = time.monotonic()


def _ping(engine: Engine, connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Replace a connection that the server has closed since its last use.

    One that ends within `FRESH_S` of it fails as if during it: the writer tries again, with another connection.
    """
    now = time.monotonic()
    if now - entry.info.get("used_s", now) < FRESH_S:
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error:
        raise DisconnectionError from None
