"""Pages of lists, newest first, by columns with falling values."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Table, select, tuple_

S = TypeVar("S", bound=Select[Any])


def page(query: S, falling: Sequence[ColumnElement[Any]], after: Sequence[Any] | None, limit: int) -> S:
    """Return at most `limit` rows in the order of `falling` columns, unique together: those `after` a position."""
    if after is not None:
        query = query.where(tuple_(*falling) < tuple_(*after))
    return query.order_by(*(column.desc() for column in falling)).limit(limit)


def newest(table: Table, before: int | None, limit: int, *, key: str = "id", **wanted: object) -> Select[Any]:
    """Select rows by falling numbers `key`, below `before`: those with these values; None is any."""
    query = select(table).order_by(table.c[key].desc()).limit(limit)
    if before is not None:
        query = query.where(table.c[key] < before)
    return query.where(*(table.c[name] == value for name, value in wanted.items() if value is not None))
