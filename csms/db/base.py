"""Shared by all tables: the metadata with its naming convention, the type of row numbers, and pages of lists.

Times are ms since 1970 in UTC. Documents are stored as JSON text, exactly as they are answered.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Integer, MetaData, Row, Select, String, Table, select, tuple_
from sqlalchemy.schema import SchemaItem

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def declare_table(name: str, *parts: SchemaItem, sqlite_autoincrement: bool = False) -> Table:
    """Return a table of the back end; with `sqlite_autoincrement` SQLite uses no number of a row twice."""
    return Table(name, metadata, *parts, sqlite_autoincrement=sqlite_autoincrement)


row_id: Final = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows only when they are INTEGER."""

transaction_key: Final = String(64).with_variant(String(36), "sqlite")
"""A transaction's id, with its begin if its station had used the id before. SQLite does not count characters."""


AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]
AnyColumn = ColumnElement[Any]
"""Rows, queries and columns of tables, whose declarations give no Python types."""

S = TypeVar("S", bound=AnySelect)


def page(
    query: S, columns: Sequence[AnyColumn], after: Sequence[object] | None, limit: int | None, *, rising: bool = False
) -> S:
    """Return at most `limit` rows in the falling or `rising` order of columns, unique together: those `after` a
    position."""
    if after is not None:
        place, last = tuple_(*columns), tuple_(*after)
        query = query.where(place > last if rising else place < last)
    return query.order_by(*(columns if rising else (column.desc() for column in columns))).limit(limit)


def newest(table: Table, before: int | None, limit: int, *, key: str = "id", **wanted: object) -> AnySelect:
    """Select rows by falling numbers `key`, below `before`: those with these values; None is any."""
    query = select(table).order_by(table.c[key].desc()).limit(limit)
    if before is not None:
        query = query.where(table.c[key] < before)
    return query.where(*(table.c[name] == value for name, value in wanted.items() if value is not None))
