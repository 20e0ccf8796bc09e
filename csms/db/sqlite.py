"""SQLite as the back end's database: every commit is durable, and none waits for a checkpoint.

Commits go to the write-ahead log, which is synchronised. From time to time its pages are copied into the
database file; SQLite would do that within some commit, here a separate thread does.
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
from functools import partial
from time import monotonic, sleep
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from csms.db.bulk import by_driver
from v2g.errors import StoreError
from v2g.io.runtime.supervision import new_thread

_log = logging.getLogger(__name__)

READS: Final = "v2g_reads"
"""Execution option of read-only connections, which do not wait for writers."""

_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=10000",
    "cache_size=-32768",  # KiB
    "secure_delete=ON",  # what is deleted or erased is overwritten, as long as pages of before sealing may have it
    "wal_autocheckpoint=50000",  # pages: only when the thread below cannot keep up
)
_CHECKPOINT_S: Final = 1.0
_EMPTY_S: Final = 50.0
"""So long the log is to be emptied; each attempt waits for readers as long as `busy_timeout`."""


def sqlite_engine(address: URL, pool_size: int) -> Engine:
    """Return the engine for a file."""
    connect_args = {"check_same_thread": False, "timeout": 10.0, "isolation_level": None}
    engine = create_engine(
        address, poolclass=QueuePool, pool_size=pool_size, connect_args=connect_args, hide_parameters=True
    )
    event.listen(engine, "do_connect", partial(_make_private, address.database or "."))
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _make_private(path: str, *_connection: object) -> None:
    """SQLite would let all users read a new file; those beside it get its mode."""
    with contextlib.suppress(OSError):  # it is there, or SQLite says why it cannot be
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))


class WriteTurn:
    """The turn to write, which back end and ingest workers take by a lock on FILE.turn: whoever waits for SQLite's own
    lock looks again and again, while others take it."""

    def __init__(self, database: str) -> None:
        """Raises StoreError."""
        try:
            self._file = os.fdopen(os.open(f"{database}.turn", os.O_CREAT | os.O_RDWR, 0o600), "w")
        except OSError as error:
            raise StoreError(f"{database}.turn: {error.strerror}", hint="this user must own the folder") from None

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_error: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class WalCheckpoints:
    """Checkpoints the log, beside the writer, until `close`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._closed = threading.Event()
        self._written = False
        event.listen(engine, "commit", self._note)
        self._thread = new_thread(target=self._run, name="store-checkpoints")
        self._thread.start()

    def close(self) -> None:
        """Stop; closing the last connection checkpoints the rest."""
        self._closed.set()
        self._thread.join()

    def _note(self, connection: Connection) -> None:
        self._written = self._written or not connection.get_execution_options().get(READS, False)

    def _run(self) -> None:
        while not self._closed.wait(_CHECKPOINT_S):
            if self._written:
                self._written = False
                try:
                    _checkpoint(self._engine, "PASSIVE")
                except StoreError as error:
                    _log.warning("%s", error)


def empty_log(engine: Engine) -> None:
    """Copy the whole log into the file, and empty it. Raises StoreError when readers hold it for too long."""
    until = monotonic() + _EMPTY_S
    while _checkpoint(engine, "TRUNCATE"):
        if monotonic() >= until:
            raise StoreError("the write-ahead log is in use: what was erased may still be in it", hint="erase again")
        sleep(0.1)  # SQLite waits for readers, but for no other checkpoint


def _checkpoint(engine: Engine, mode: str) -> bool:
    """Copy the log into the file; return whether something was in use. Raises StoreError."""
    try:
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            return bool(driver.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0])
    except (SQLAlchemyError, sqlite3.Error) as error:  # the driver's own errors are not SQLAlchemy's
        raise StoreError(f"checkpoint of the database: {error}", hint="is the disk full?") from None


def _prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor: Any = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """Begin explicitly: the driver would only before a change, too late to read the newest data."""
    reads = connection.get_execution_options().get(READS, False)
    statement = "BEGIN" if reads else "BEGIN IMMEDIATE"
    with by_driver(connection, statement) as driver:
        driver.execute(statement)
