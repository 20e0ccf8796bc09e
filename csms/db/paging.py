"""Pages of lists, newest first, by columns with falling values."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, tuple_

S = TypeVar("S", bound=Select[Any])


def page(query: S, falling: Sequence[ColumnElement[Any]], after: Sequence[Any] | None, limit: int) -> S:
    """Return at most `limit` rows in the order of `falling` columns, unique together: those `after` a position."""
    if after is not None:
        query = query.where(tuple_(*falling) < tuple_(*after))
    return query.order_by(*(column.desc() for column in falling)).limit(limit)
