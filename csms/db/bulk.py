"""Bulk operations with the driver's own means, for the few places with most of the traffic.

SQLAlchemy's overhead per statement and row is several times the database's own. Statements
are generated once for each table from its declaration.
"""

import contextlib
import importlib
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Dialect, Table, insert
from sqlalchemy.exc import DBAPIError

from v2g.typed_json import Fields

MARKS: Final = {"sqlite": "?", "postgresql": "%s"}
"""Each driver's mark of a value."""

Rows = Sequence[Mapping[str, Any]]
"""Rows with the same columns; values are numbers, text, booleans and None."""


def execute(connection: Connection, statement: str, values: Sequence[object] = ()) -> tuple[int, list[tuple[Any, ...]]]:
    """Execute a statement, for a list of values with each (SQLite); return how many rows it changed, and those that it
    found. Raises DBAPIError.

    By the driver alone: SQLAlchemy's own means take ten times as long as SQLite to find a row.
    """
    if not connection.in_transaction():
        connection.begin()
    with by_driver(connection, statement) as driver:
        done = (driver.executemany if isinstance(values, list) else driver.execute)(statement, values)
        return done.rowcount, done.fetchall() if done.description else []


@contextlib.contextmanager
def by_driver(connection: Connection, statement: str) -> Iterator[Any]:
    """Yield the driver's connection, whose errors SQLAlchemy does not see. Raises DBAPIError for them."""
    driver: Any = connection.connection.driver_connection
    dialect, failed = connection.dialect, connection.dialect.loaded_dbapi.Error
    try:
        yield driver
    except failed as error:
        if dialect.is_disconnect(error, driver, None):
            connection.invalidate(error)
        raise DBAPIError.instance(statement, None, error, failed, hide_parameters=True, dialect=dialect) from error


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows. Omitted columns get the database's default."""
    _put(connection, table, rows, upsert=False)


def append_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]
) -> None:
    """Insert many new rows, given as tuples in the order of `columns`: by COPY in PostgreSQL."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        statement = _copy_statement(table, columns)
        with by_driver(connection, statement) as driver, driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(
                [table.c[name].type.compile(_dialect("postgresql")).partition("(")[0].lower() for name in columns]
            )
            for row in rows:
                copy.write_row(row)
    else:
        execute(connection, _statement(table, columns, "sqlite", upsert=False), list(rows))


def insert_numbered(connection: Connection, table: Table, number: int | None, values: Mapping[str, object]) -> int:
    """Insert a row with the table's next number, or with `number`, which later ones exceed; return its number."""
    key = table.autoincrement_column
    assert key is not None
    chosen = {} if number is None else {key.name: number}
    inserted = connection.execute(insert(table).values(**values, **chosen)).inserted_primary_key
    assert inserted is not None
    if number is not None:
        count_on(connection, table)
    return int(inserted[0])


def insert_absent(connection: Connection, table: Table, values: Fields) -> Any:
    """Insert a row; return its (first) key, None where a unique index has one already."""
    make: Any = importlib.import_module(f"sqlalchemy.dialects.{connection.dialect.name}").insert
    (key, *_) = table.primary_key
    return connection.execute(make(table).values(**values).on_conflict_do_nothing().returning(key)).scalar()


def count_on(connection: Connection, table: Table) -> None:
    """Let PostgreSQL number new rows after the highest; SQLite does so itself."""
    key = table.autoincrement_column
    if key is None or connection.dialect.name != "postgresql":
        return
    quote = connection.dialect.identifier_preparer.quote
    highest = f"SELECT max({quote(key.name)}) AS highest FROM {quote(table.name)}"  # noqa: S608 - our own names
    counter = f"pg_get_serial_sequence('{table.name}', '{key.name}')"
    last = f"SELECT setval({counter}, highest) FROM ({highest}) AS rows WHERE highest IS NOT NULL"  # noqa: S608
    execute(connection, last)


@cache
def _copy_statement(table: Table, columns: tuple[str, ...]) -> str:
    quote = _dialect("postgresql").identifier_preparer.quote
    return f"COPY {quote(table.name)} ({', '.join(map(quote, columns))}) FROM STDIN (FORMAT BINARY)"


def update_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Update existing rows: each has the primary key, and new values for other columns."""
    if not rows:
        return
    columns = tuple(rows[0])
    key = tuple(column.name for column in table.primary_key)
    dialect = connection.dialect.name
    statement = _update(table, columns, dialect)
    if dialect == "postgresql":
        execute(connection, statement, (msgspec.json.encode(rows).decode(),))
    else:
        order = (*(name for name in columns if name not in key), *key)
        execute(connection, statement, [tuple([row[name] for name in order]) for row in rows])


def find_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], keys: Rows, *, for_update: bool = False
) -> Sequence[Any]:
    """Return `columns` of the rows that have the values of one of `keys`, which differ; locked in their order, against
    other transactions, with `for_update`."""
    if not keys:
        return ()
    statement = _find(table, columns, tuple(keys[0]), connection.dialect.name, for_update)
    _, found = execute(connection, statement, (msgspec.json.encode(keys).decode(),))
    return list(map(_row(columns), found))


@cache
def _row(columns: tuple[str, ...]) -> Callable[[Sequence[Any]], Any]:
    kind: object = namedtuple("Row", columns)  # type: ignore[misc]  # its names are values here
    make: Callable[[Sequence[object]], object] = kind._make
    return make


@cache
def _find(table: Table, columns: tuple[str, ...], keys: tuple[str, ...], dialect: str, for_update: bool) -> str:
    quote = _dialect(dialect).identifier_preparer.quote
    chosen = ", ".join(f"t.{quote(name)}" for name in columns)
    if dialect == "postgresql":
        given, each = _given(table, keys), "given.{}"
    else:
        given, each = "json_each(?) AS given", "json_extract(given.value, '$.{}')"
    here = " AND ".join(f"t.{quote(name)} = {each.format(name)}" for name in keys)
    locked = f" ORDER BY {', '.join(f't.{quote(name)}' for name in keys)} FOR UPDATE OF t"
    statement = f"SELECT {chosen} FROM {given} CROSS JOIN {quote(table.name)} t WHERE {here}"  # noqa: S608 - our names
    return statement + (locked if for_update and dialect == "postgresql" else "")


def delete_rows(connection: Connection, table: Table, **values: str | int) -> bool:
    """Delete the rows with these values in the columns of these names; return whether there were any."""
    statement = _delete(table, tuple(values), connection.dialect.name)
    deleted, _ = execute(connection, statement, tuple(values.values()))
    return deleted > 0


def delete_many(connection: Connection, table: Table, rows: Rows) -> None:
    """Delete the rows that have the values of one of these."""
    if not rows:
        return
    columns = tuple(rows[0])
    if connection.dialect.name == "postgresql":
        name, *those = map(_dialect("postgresql").identifier_preparer.quote, (table.name, *columns))
        here = " AND ".join(f"{name}.{each} = given.{each}" for each in those)
        statement = f"DELETE FROM {name} USING {_given(table, columns)} WHERE {here}"  # noqa: S608 - our names
        execute(connection, statement, (msgspec.json.encode(rows).decode(),))
    else:
        execute(connection, _delete(table, columns, "sqlite"), [tuple(row.values()) for row in rows])


@cache
def _delete(table: Table, columns: tuple[str, ...], dialect: str) -> str:
    quote = _dialect(dialect).identifier_preparer.quote
    here = " AND ".join(f"{quote(name)} = {MARKS[dialect]}" for name in columns)
    return f"DELETE FROM {quote(table.name)} WHERE {here}"  # noqa: S608 - our names


def upsert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows; existing ones with the same primary key are updated, in the given columns."""
    _put(connection, table, rows, upsert=True)


def _put(connection: Connection, table: Table, rows: Rows, *, upsert: bool) -> None:
    if not rows:
        return
    columns = tuple(rows[0])
    dialect = connection.dialect.name
    statement = _statement(table, columns, dialect, upsert)
    if dialect == "postgresql":  # one statement: psycopg takes five times as long to adapt each value
        execute(connection, statement, (msgspec.json.encode(rows).decode(),))
    else:
        execute(connection, statement, [tuple(row.values()) for row in rows])


@cache
def _update(table: Table, columns: tuple[str, ...], dialect: str) -> str:
    quote = _dialect(dialect).identifier_preparer.quote
    key = [column.name for column in table.primary_key]
    others = [quote(name) for name in columns if name not in key]
    name, keys = quote(table.name), list(map(quote, key))
    if dialect == "postgresql":
        changes = ", ".join(f"{each} = given.{each}" for each in others)
        here = " AND ".join(f"{name}.{each} = given.{each}" for each in keys)
        return f"UPDATE {name} SET {changes} FROM {_given(table, columns)} WHERE {here}"  # noqa: S608 - our names
    changes = ", ".join(f"{each} = ?" for each in others)
    return f"UPDATE {name} SET {changes} WHERE {' AND '.join(f'{each} = ?' for each in keys)}"  # noqa: S608 - our names


def _given(table: Table, columns: tuple[str, ...]) -> str:
    """Return rows that PostgreSQL reads from a parameter of JSON."""
    dialect = _dialect("postgresql")
    quote = dialect.identifier_preparer.quote
    types = ", ".join(f"{quote(name)} {table.c[name].type.compile(dialect)}" for name in columns)
    return f"json_to_recordset(%s::json) AS given ({types})"


@cache
def _statement(table: Table, columns: tuple[str, ...], dialect: str, upsert: bool) -> str:
    quote = _dialect(dialect).identifier_preparer.quote
    names = ", ".join(map(quote, columns))
    statement = f"INSERT INTO {quote(table.name)} ({names}) "
    if dialect == "postgresql":
        statement += f"SELECT {names} FROM {_given(table, columns)}"  # noqa: S608 - our names
    else:
        statement += f"VALUES ({', '.join('?' * len(columns))})"
    if upsert:
        key = [column.name for column in table.primary_key]
        changes = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in columns if name not in key)
        statement += f" ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET {changes}"
    return statement


@cache
def _dialect(name: str) -> Dialect:
    """Return a database's dialect, without importing the other's."""
    dialect: Dialect = importlib.import_module(f"sqlalchemy.dialects.{name}").dialect()
    return dialect
