"""Requests to stations with a later outcome, by their `requestId`: their states, and the parts received."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa

from csms.cluster.frames import presentable
from csms.db.base import declare_table, newest, row_id
from csms.db.bulk import insert_numbered, update_rows
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import action_of
from v2g.typed_json import Fields

station_requests: Final = declare_table(
    "station_requests",
    sa.Column("request_id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("action", sa.String(40), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.Column("answer", sa.String(40), nullable=False, default="", server_default=""),
    sa.Column("progress", sa.String(40), nullable=False, default="", server_default=""),
    sa.Column("detail", sa.Text, nullable=False, default="", server_default=""),
    sa.Column("done_ms", sa.BigInteger),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index(None, "station_id", "action"),
    sqlite_autoincrement=True,
)

request_parts: Final = declare_table(
    "request_parts",
    sa.Column("request_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seq_no", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.ForeignKeyConstraint(["request_id"], ["station_requests.request_id"]),
)

UNANSWERED: Final = "Unanswered"
"""Stored as the answer when there is none: the station may or may not have acted."""


def open_request(
    connection: sa.Connection, station_id: str, make: Callable[[int], Message], now_ms: int
) -> tuple[int, Message]:
    """Store a request, as `open_requests` does."""
    return open_requests(connection, [NewRequest(station_id, make, now_ms)])[0]


def open_numbered(connection: sa.Connection, station_id: str, number: int, request: Message, now_ms: int) -> None:
    """Store a request whose number its caller has chosen. Passwords in it are not stored."""
    values = {
        "station_id": station_id, "action": action_of(request), "created_ms": now_ms, "updated_ms": now_ms,
        "document": presentable(msgspec.json.encode(request).decode()),
    }  # fmt: skip
    insert_numbered(connection, station_requests, number, values)


class NewRequest(NamedTuple):
    """A request to a station, built from its assigned number, and its time (UTC ms)."""

    station_id: str
    make: Callable[[int], Message]
    at_ms: int


def open_requests(connection: sa.Connection, new: Sequence[NewRequest]) -> list[tuple[int, Message]]:
    """Store requests and assign their numbers; return both of each. Passwords in them are not stored."""
    rows = [
        {
            "station_id": each.station_id,
            "action": "",
            "created_ms": each.at_ms,
            "updated_ms": each.at_ms,
            "document": "",
        }
        for each in new
    ]
    inserted = sa.insert(station_requests).returning(station_requests.c.request_id, sort_by_parameter_order=True)
    numbers = connection.execute(inserted, rows).scalars().all()
    opened = [(number, each.make(number)) for number, each in zip(numbers, new, strict=True)]
    named = [
        {
            "request_id": number,
            "action": action_of(request),
            "document": presentable(msgspec.json.encode(request).decode()),
        }
        for number, request in opened
    ]
    update_rows(connection, station_requests, named)
    return opened


def save_answer(
    connection: sa.Connection, request_id: int, answer: str, detail: str, now_ms: int, *, done: bool
) -> None:
    """Store the station's answer; `done` when nothing follows."""
    _change(connection, request_id, answer=answer, detail=detail, updated_ms=now_ms, **_end(now_ms, done))


def save_progress(
    connection: sa.Connection,
    station_id: str,
    action: str,
    request_id: int | None,
    progress: str,
    now_ms: int,
    *,
    done: bool,
) -> int | None:
    """Store the progress of a request; return its number. None: no such request of that station.

    Without a number, as of OCPP 1.6 after a restart of the station, it is the newest one, unless that is done.
    """
    column = station_requests.c
    query = sa.select(column.request_id, column.done_ms)
    query = query.where(column.station_id == station_id, column.action == action)
    if request_id is not None:
        query = query.where(column.request_id == request_id)
    row = connection.execute(query.order_by(column.request_id.desc()).limit(1)).first()
    if row is None or (request_id is None and row.done_ms is not None):
        return None
    found: int = row.request_id
    _change(connection, found, progress=progress, updated_ms=now_ms, **_end(now_ms, done))
    return found


def supersede(connection: sa.Connection, station_id: str, action: str, request_id: int, now_ms: int) -> None:
    """Mark earlier requests of the kind as cancelled by this one."""
    earlier = (
        (station_requests.c.station_id == station_id)
        & (station_requests.c.action == action)
        & (station_requests.c.request_id < request_id)
        & station_requests.c.done_ms.is_(None)
    )
    connection.execute(
        sa.update(station_requests)
        .where(earlier)
        .values(progress="AcceptedCanceled", updated_ms=now_ms, done_ms=now_ms)
    )


def save_part(
    connection: sa.Connection, station_id: str, action: str, request_id: int, seq_no: int, document: str, now_ms: int,
    *, last: bool,
) -> bool:  # fmt: skip
    """Store a part of a report, once. False: no such request of that station."""
    row = connection.execute(
        sa.select(station_requests.c.station_id, station_requests.c.action).where(
            station_requests.c.request_id == request_id
        )
    ).first()
    if row is None or (row.station_id, row.action) != (station_id, action):
        return False
    key = (request_parts.c.request_id == request_id) & (request_parts.c.seq_no == seq_no)
    if connection.execute(sa.select(request_parts.c.seq_no).where(key)).first() is None:
        connection.execute(
            sa.insert(request_parts).values(request_id=request_id, seq_no=seq_no, received_ms=now_ms, document=document)
        )
    _change(connection, request_id, updated_ms=now_ms, **_end(now_ms, last))
    return True


def count_parts(connection: sa.Connection, request_id: int) -> int:
    """Return the number of parts: that of the next one, where the message has none itself."""
    return len(parts(connection, request_id))


def parts(connection: sa.Connection, request_id: int) -> list[str]:
    """Return the parts so far, in order."""
    return list(
        connection.execute(
            sa.select(request_parts.c.document)
            .where(request_parts.c.request_id == request_id)
            .order_by(request_parts.c.seq_no)
        ).scalars()
    )


def find(connection: sa.Connection, request_id: int) -> Fields | None:
    """Return a request as columns, or None."""
    row = connection.execute(sa.select(station_requests).where(station_requests.c.request_id == request_id)).first()
    return dict(row._mapping) if row else None


def list_requests(
    connection: sa.Connection, before: int | None, limit: int, station_id: str | None, action: str | None
) -> list[dict[str, object]]:
    """Return the newest requests first, of a station and an action when these are given, below the number `before`."""
    query = newest(station_requests, before, limit, key="request_id", station_id=station_id, action=action)
    return [dict(row._mapping) for row in connection.execute(query)]


def _end(now_ms: int, done: bool) -> dict[str, int]:
    return {"done_ms": now_ms} if done else {}


def _change(connection: sa.Connection, request_id: int, **values: object) -> None:
    connection.execute(sa.update(station_requests).where(station_requests.c.request_id == request_id).values(**values))
