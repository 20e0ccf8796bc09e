"""Parameters that several routes share, amounts of money, and pages of lists with the cursors between them."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Concatenate, Final, ParamSpec, TypeVar

import msgspec
from sqlalchemy import Connection

from csms.http.call import Call, encode
from csms.http.operations import Page
from csms.http.problems import ApiError, conflict, missing
from v2g import typed_json
from v2g.typed_json import Fields
from v2g.units import Currency, Decimals, decimals_of

StationId = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9*_=+|@.-]{1,48}\Z",  # OCPP-J 3.1.1, without the colon
        description="The station's OCPP identity.",
        examples=["CS-V2G-0001"],
    ),
]
PRINTED: Final = r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?\Z"
"""Pattern of names: no control characters, such as a line end, and no space at either end."""
Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
EvseId = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
RowNumber = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="Maximum number of items.")]
Cursor = Annotated[
    str | None, msgspec.Meta(description="Start of the page, from the previous page's header `Link`; opaque.")
]


class Paged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a page."""

    limit: Limit = 100
    cursor: Cursor = None


class OfAnyStation(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for a list of all stations."""

    station_id: Annotated[str | None, msgspec.Meta(description="Only of this station.")] = None


class AtStation(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a station's list."""

    station_id: StationId


OnlySites = (
    Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=60)], ...],
        msgspec.Meta(min_length=1, max_length=100, description="The only sites that the role is for; null is all."),
    ]
    | None
)

OfStation = Annotated[str | None, msgspec.Meta(description="The station, where several have that id.")]


def one_of(call: Call, found: list[Fields], station: str | None, what: str) -> Fields:
    """Return the only match, or that of `station` if given. Raises ApiError: none, or several."""
    found = [row for row in call.own(found) if station in (None, row["station_id"])]
    if not found:
        raise missing(what)
    if len(found) > 1:
        names = ", ".join(row["station_id"] for row in found[:_MOST_NAMED])
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise conflict(f"several stations have that {what}: {names}{more}", "add ?station=", code="ambiguous")
    return found[0]


def check_printed(**names: str) -> None:
    """Check names in a body whose type is that of stored documents, too; empty ones pass. Raises ApiError 400."""
    for key, name in names.items():
        if name and re.match(PRINTED, name) is None:
            raise ApiError(400, f"{key}: control characters, or space at an end", "leave them out")


class Money(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount in units of a currency."""

    amount: Decimals
    currency: Currency


def money_of(micro: int, currency: str) -> Money:
    """Return micro-units as an amount."""
    return Money(amount=decimals_of(micro, currency), currency=currency)


def in_money(found: msgspec.Struct, currency: str) -> Fields:
    """Return the fields of a Struct, those in micro-units (`..._micro...`) as amounts, named without that."""
    return {
        name.replace("_micro", ""): money_of(value, currency) if "_micro" in name else value
        for name, value in msgspec.structs.asdict(found).items()
    }


R = TypeVar("R")
T = TypeVar("T")
K = TypeVar("K", str, int)
P = ParamSpec("P")

_MOST_ROWS: Final = 1000
_MOST_NAMED: Final = 8


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
    fetch: Callable[Concatenate[Connection, int | None, int, P], list[dict[str, object]]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Page[T]:
    """Return a page of rows with falling numbers `key`; `fetch(connection, before, limit, ...)` finds those below
    one."""

    def below(connection: Connection, after: tuple[int, ...] | None, limit: int) -> list[dict[str, object]]:
        return fetch(connection, after[0] if after else None, limit, *args, **kwargs)

    return await pages(call, paged, kind, tuple[int], (key,), below)


async def pages(
    call: Call,
    paged: Paged,
    kind: type[T],
    position: type[R],
    keys: Sequence[str],
    fetch: Callable[Concatenate[Connection, R | None, int, P], list[Fields]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Page[T]:
    """Return a page of rows ordered by several columns; `fetch(connection, after, limit, ...)` finds them.

    `position`: a tuple type, of the values of `keys`.
    """
    asked = paged.limit + 1
    found = await call.run(fetch, read_cursor(paged.cursor, position), asked, *args, **kwargs)
    kept = call.own(found)
    while len(found) == asked and len(kept) <= paged.limit:  # a caller limited to sites gets full pages, too
        asked = _MOST_ROWS
        after = typed_json.convert([found[-1][key] for key in keys], position)
        found = await call.run(fetch, after, asked, *args, **kwargs)
        kept += call.own(found)
    items: tuple[T, ...] = tuple(shown(row, kind) for row in kept[: paged.limit])
    more = len(kept) > paged.limit
    return Page(items, write_cursor(*(kept[paged.limit - 1][key] for key in keys)) if more else None)


def page_of(call: Call, found: Iterable[T], paged: Paged, key: Callable[[T], K]) -> Page[T]:
    """Return a page of a complete list by its keys, texts or numbers; a database may order texts as a language does."""
    found = sorted(call.own(found), key=key)
    position = read_cursor(paged.cursor, tuple[str | int])
    if position is not None:
        try:
            found = [each for each in found if key(each) > position[0]]  # type: ignore[operator]  # or TypeError
        except TypeError:
            raise ApiError(400, "invalid cursor") from None
    items = tuple(found[: paged.limit])
    return Page(items, write_cursor(key(items[-1])) if len(found) > paged.limit else None)


def shown(found: object, kind: type[R]) -> R:
    """Return results of a feature's `store`, dicts and lists, as the type of the answer."""
    return typed_json.convert(_plain(found), kind)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):  # SQLAlchemy's column names are a subclass of str
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
