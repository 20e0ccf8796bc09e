"""Bulk operations with the driver's own means, for the few places with most of the traffic.

SQLAlchemy's overhead per statement and row is several times the database's own. Statements
are generated once for each table from its declaration.
"""

import importlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Dialect, Table

Rows = Sequence[Mapping[str, Any]]
"""Rows with the same columns; values are numbers, text, booleans and None."""


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows. Omitted columns get the database's default."""
    _put(connection, table, rows, upsert=False)


def update_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Update existing rows: each has the primary key, and new values for other columns."""
    if not rows:
        return
    columns = tuple(rows[0])
    key = tuple(column.name for column in table.primary_key)
    dialect = connection.dialect.name
    statement = _update(table, columns, dialect)
    if dialect == "postgresql":
        connection.exec_driver_sql(statement, (msgspec.json.encode(rows).decode(),))
    else:
        order = (*(name for name in columns if name not in key), *key)
        connection.exec_driver_sql(statement, [tuple([row[name] for name in order]) for row in rows])


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
        connection.exec_driver_sql(statement, (msgspec.json.encode(rows).decode(),))
    else:
        connection.exec_driver_sql(statement, [tuple(row.values()) for row in rows])


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
