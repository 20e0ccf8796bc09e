"""A database of telemetry values beside the back end's own, for analyses: SQLite, or PostgreSQL with or without
TimescaleDB.

One table `telemetry` has a row for each record and a column for each signal. Views `telemetry_1m` and `telemetry_15m`
have number, minimum, maximum and last value by vehicle and interval. They have no mean: a value is recorded when it
changes, so a mean of records is none over time. With TimescaleDB the table is a hypertable and the views are continuous
aggregates, with the same columns.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, DateTime, Double, MetaData, String, Table, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from csms.db.bulk import append_rows
from csms.db.group_commit import as_store_error
from csms.db.sqlite import empty_log
from csms.db.store import open_engine
from csms.telemetry.rules import StoredRecord
from csms.telemetry.tables import VALUES

_metadata: Final = MetaData()

series: Final = Table(
    "telemetry",
    _metadata,
    Column("time", DateTime(timezone=True).with_variant(BigInteger(), "sqlite"), primary_key=True),  # SQLite: ms
    Column("ev", String(64), primary_key=True),
    Column("boot", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("context", String(16), nullable=False),
    *(Column(column, Double) for column in VALUES.values()),
)

_COLUMNS: Final = tuple(column.name for column in series.columns)
_INCOMING: Final = series.to_metadata(MetaData(), name="incoming")
_VIEWS: Final = {"telemetry_1m": 60, "telemetry_15m": 900}
_LOCK: Final = 0x7632_6773_6572

WRITE_S: Final = 60.0
"""How long PostgreSQL may take for a batch."""
ERASE_S: Final = 3600.0
"""How long it may take to erase a vehicle, whose records it looks for in the whole table."""


class SeriesDatabase:
    """The database at `url`. Blocking; every method raises StoreError, UnstorableError for rejected values.

    The user must be allowed to create tables.
    """

    def __init__(self, url: str) -> None:
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).touch(mode=0o600)
        self._engine = open_engine(url)
        self._prepared = False
        self._until = inf
        if self.dialect == "postgresql":
            from csms.db.limited import limit

            limit(self._engine, lambda: self._until)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    def write(self, records: Sequence[StoredRecord]) -> None:
        """Store records; those that are stored already stay what they are."""
        rows = [self._row(each) for each in records]
        with self._begin(WRITE_S) as connection:
            if self.dialect == "postgresql":
                connection.exec_driver_sql("CREATE TEMP TABLE incoming (LIKE telemetry) ON COMMIT DROP")
                append_rows(connection, _INCOMING, _COLUMNS, rows)
                connection.exec_driver_sql("INSERT INTO telemetry SELECT * FROM incoming ON CONFLICT DO NOTHING")
            else:
                places = ", ".join("?" * len(_COLUMNS))
                names = ", ".join(_COLUMNS)
                statement = f"INSERT INTO telemetry ({names}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608 - ours
                if rows:
                    connection.exec_driver_sql(statement, rows)

    def erase(self, ev: str) -> None:
        """Delete a vehicle's records, and what continuous aggregates keep of them, or of those that are gone."""
        with self._begin(ERASE_S) as connection:
            kept = _materialised(connection) if self.dialect == "postgresql" else []
            for table in kept:  # a refresh under way must not bring back what it has read
                connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
            connection.execute(series.delete().where(series.c.ev == ev))
            for table in kept:
                connection.execute(text(f"DELETE FROM {table} WHERE ev = :ev"), {"ev": ev})  # noqa: S608 - quoted
        if self.dialect == "sqlite":
            empty_log(self._engine)

    def hurry(self, seconds: float) -> None:
        """Let what is under way in another thread end within so long: it is broken off."""
        self._until = min(self._until, time.monotonic() + seconds)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _begin(self, seconds: float) -> Iterator[Connection]:
        """Begin a transaction for which PostgreSQL has so long."""
        self._until = time.monotonic() + seconds
        try:
            with self._engine.begin() as connection:
                if self.dialect == "postgresql":  # what is broken off here must not wait for a lock there
                    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(seconds * 1000)}")
                self._prepare(connection)
                yield connection
            self._prepared = True  # committed
        except SQLAlchemyError as error:
            raise as_store_error(error) from error

    def _row(self, each: StoredRecord) -> tuple[object, ...]:
        at = each.at_ms if self.dialect == "sqlite" else datetime.fromtimestamp(each.at_ms / 1000, UTC)
        return at, each.ev, each.boot, each.seq, each.context, *map(each.values.get, VALUES)

    def _prepare(self, connection: Connection) -> None:
        """Create what is missing, once."""
        if self._prepared:
            return
        if self.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        timescale = self.dialect == "postgresql" and has_timescale(connection)
        new = not inspect(connection).has_table("telemetry")
        _metadata.create_all(connection)
        if new and timescale:
            connection.exec_driver_sql("SELECT create_hypertable('telemetry', 'time')")
        there = {each["name"] for each in inspect(connection).get_columns("telemetry")}
        for column in VALUES.values():
            if column not in there:
                kind = series.c[column].type.compile(connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE telemetry ADD COLUMN {column} {kind}")
        for name, width_s in _VIEWS.items():
            for statement in view(name, width_s, self.dialect, timescale=timescale, replace=new or not timescale):
                connection.exec_driver_sql(statement)


def has_timescale(connection: Connection) -> bool:
    """Return whether the database has the extension TimescaleDB."""
    query = text("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'")
    return bool(connection.execute(query).scalar())


def _materialised(connection: Connection) -> list[str]:
    """Return the hypertables that keep the rows of our continuous aggregates, with schema and quoted.

    Their rows may be deleted as those of any hypertable (Tiger Data Docs, "Materialized hypertables"). A refresh would
    not do: it also removes the aggregates of other vehicles whose records a retention policy has dropped.
    """
    information = "timescaledb_information.continuous_aggregates"
    if connection.execute(text("SELECT to_regclass(:name)"), {"name": information}).scalar() is None:
        return []
    table = "quote_ident(materialization_hypertable_schema) || '.' || quote_ident(materialization_hypertable_name)"
    where = "view_schema = current_schema() AND view_name = ANY(:names) ORDER BY view_name"
    query = text(f"SELECT {table} FROM {information} WHERE {where}")  # noqa: S608 - our names
    return list(connection.execute(query, {"names": list(_VIEWS)}).scalars())


def view(name: str, width_s: int, dialect: str, *, timescale: bool, replace: bool) -> list[str]:
    """Return the statements that create a view of intervals."""
    if not replace:  # continuous aggregates stay: they outlive the records that they were made of
        return []
    if timescale:
        bucket, last = f"time_bucket(INTERVAL '{width_s} seconds', time)", "last({column}, time)"
    elif dialect == "postgresql":
        bucket = f"to_timestamp(floor(extract(epoch FROM time) / {width_s}) * {width_s})"
        last = "(array_agg({column} ORDER BY time DESC, boot DESC, seq DESC) FILTER (WHERE {column} IS NOT NULL))[1]"
    else:
        bucket = f"time / {width_s * 1000} * {width_s * 1000}"
        newest = f"l.time / {width_s * 1000} = t.time / {width_s * 1000} ORDER BY l.time DESC, l.boot DESC, l.seq DESC"
        known = f"l.ev = t.ev AND l.{{column}} IS NOT NULL AND {newest}"
        last = f"(SELECT l.{{column}} FROM telemetry l WHERE {known} LIMIT 1)"  # noqa: S608 - our names
    parts = []
    for column in VALUES.values():
        parts += [f"count({column}) AS {column}_number"]
        parts += [f"{short}({column}) AS {column}_{short}" for short in ("min", "max")]
        parts += [f"{last.format(column=column)} AS {column}_last"]
    query = f"SELECT {bucket} AS bucket, ev, {', '.join(parts)} FROM telemetry t GROUP BY 1, 2"  # noqa: S608 - ours
    if timescale:
        span = "INTERVAL '3 days', INTERVAL '1 minute', INTERVAL '1 minute'"
        kept = f"SELECT add_continuous_aggregate_policy('{name}', {span})"
        return [f"CREATE MATERIALIZED VIEW {name} WITH (timescaledb.continuous) AS {query} WITH NO DATA", kept]
    return [f"DROP VIEW IF EXISTS {name}", f"CREATE VIEW {name} AS {query}"]
