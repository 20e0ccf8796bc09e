"""Pages of lists, and the cursors between them."""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection

from csms.http.call import Call, encode
from csms.http.operations import Page
from csms.http.parameters import Paged
from csms.http.problems import ApiError
from v2g import typed_json

R = TypeVar("R")
T = TypeVar("T")
K = TypeVar("K", str, int)

_MOST_ROWS: Final = 1000


def write_cursor(*position: str | int | None) -> str:
    """Return a cursor: the start of the next page. It is obfuscated, not secured."""
    return base64.urlsafe_b64encode(encode(position)).decode().rstrip("=")


def read_cursor(cursor: str | None, kind: type[R]) -> R | None:
    """Return the position in a cursor, a tuple type. Raises ApiError unless `write_cursor` made it."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = typed_json.decode(text, kind)
        if any(isinstance(each, int) and not -(2**63) <= each < 2**63 for each in msgspec.to_builtins(position)):
            raise ValueError("not the number of a row")
        return position
    except (binascii.Error, ValueError):  # msgspec's error is a ValueError
        raise ApiError(400, "invalid cursor", "take it from the header Link of the page before") from None


async def newest_first(
    call: Call,
    paged: Paged,
    kind: type[T],
    key: str,
    fetch: Callable[[Connection, int | None, int], list[dict[str, object]]],
) -> Page[T]:
    """Return a page of rows with falling numbers `key`; `fetch(connection, before, limit)` finds those below one."""

    def below(connection: Connection, after: tuple[int, ...] | None, limit: int) -> list[dict[str, object]]:
        return fetch(connection, after[0] if after else None, limit)

    return await pages(call, paged, kind, tuple[int], (key,), below)


async def pages(
    call: Call,
    paged: Paged,
    kind: type[T],
    position: type[R],
    keys: Sequence[str],
    fetch: Callable[[Connection, R | None, int], list[dict[str, Any]]],
) -> Page[T]:
    """Return a page of rows ordered by several columns; `fetch(connection, after, limit)` finds them.

    `position`: a tuple type, of the values of `keys`; null counts as 0.
    """
    found = await _fetched(call, position, keys, fetch, read_cursor(paged.cursor, position), paged.limit + 1)
    items: tuple[T, ...] = tuple(shown(row, kind) for row in found[: paged.limit])
    more = len(found) > paged.limit
    return Page(items, write_cursor(*(found[paged.limit - 1][key] or 0 for key in keys)) if more else None)


async def _fetched(
    call: Call,
    position: type[R],
    keys: Sequence[str],
    fetch: Callable[[Connection, R | None, int], list[dict[str, Any]]],
    after: R | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Return rows; for a caller limited to sites, as many of their stations, so that no page is short of others."""
    found = await call.run(fetch, after, limit)
    kept = call.own(found)
    asked = limit
    while len(found) == asked and len(kept) < limit:
        asked = _MOST_ROWS
        after = typed_json.convert([found[-1][key] or 0 for key in keys], position)
        found = await call.run(fetch, after, asked)
        kept += call.own(found)
    return kept[:limit]


def page_of(call: Call, found: Iterable[T], paged: Paged, key: Callable[[T], K]) -> Page[T]:
    """Return a page of a complete list, whose items have rising keys: texts or numbers."""
    found = call.own(found)
    position = read_cursor(paged.cursor, tuple[str | int])
    if position is not None:
        try:
            found = [each for each in found if key(each) > position[0]]  # type: ignore[operator]  # or TypeError
        except TypeError:
            raise ApiError(400, "invalid cursor") from None
    items = tuple(found[: paged.limit])
    return Page(items, write_cursor(key(items[-1])) if len(found) > paged.limit else None)


def shown(found: Any, kind: type[R]) -> R:
    """Return results of `csms.db.queries`, dicts and lists, as the type of the answer."""
    return typed_json.convert(_plain(found), kind)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):  # SQLAlchemy's column names are a subclass of str
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
