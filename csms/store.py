"""The database: opened, brought up to date, and worked on by one thread, so that the event loop never waits for a disk.

SQLite in WAL mode with full synchronisation: what a station or gateway was told is stored survives kill -9 and a power
cut. Each piece of work is one short transaction: a function of `csms.rows` (or any other) that takes a Connection.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from v2g.errors import StoreError

P = ParamSpec("P")
R = TypeVar("R")

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0001"
"""The newest revision under `migrations/versions` (a test keeps it true): knowing it spares importing Alembic."""


class Store:
    """A database at `url` (`sqlite:///FILE`). Opening creates or migrates it. Raises StoreError, also from `run`."""

    def __init__(self, url: str) -> None:
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        try:
            self.engine = _engine(url)
            migrate(self.engine)
        except SQLAlchemyError as error:
            self._writer.shutdown()
            raise StoreError(f"{url}: {error}", hint="is the folder writable and the file a CSMS database?") from error

    async def run(self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work(connection, ...)` as one transaction on the writer thread; what it raises undoes it."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, lambda: self.do(work, *args, **kwargs))

    def do(self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As `run`, in the calling thread: for start-up and tests."""
        try:
            with self.engine.begin() as connection:
                return work(connection, *args, **kwargs)
        except SQLAlchemyError as error:
            raise StoreError(f"the database refused: {error}", hint="is the disk full or the file damaged?") from error

    def close(self) -> None:
        """Finish what is under way, then close the file."""
        self._writer.shutdown(wait=True)
        self.engine.dispose()


def open_sqlite(path: Path) -> Store:
    """Return the store in the file `path`, which only its owner may read. Raises StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error}", hint="choose a data_dir that this user may write") from error
    return Store(f"sqlite:///{path}")


def migrate(engine: Engine) -> None:
    """Bring the database to the newest revision. A database from a newer program is refused with StoreError."""
    with engine.connect() as connection:
        if inspect(connection).has_table("alembic_version"):
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if found == HEAD:
                return
    from alembic import command  # a fifth of a second that only a new or old database pays
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"cannot migrate the database: {error}", hint="was it written by a newer version?") from error


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url)
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False, "timeout": 10.0})

    @event.listens_for(engine, "connect")
    def _prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor: Any = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine
