"""Messages on displays."""

from collections.abc import Iterable
from typing import Final

import msgspec
import sqlalchemy as sa

from csms.db.base import declare_table, transaction_key
from v2g.ocpp.messages.display import MessageInfo
from v2g.ocpp.times import parse_time

display_messages: Final = declare_table(
    "display_messages",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("message_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("transaction_id", transaction_key),
    sa.Column("ends_ms", sa.BigInteger),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)


def next_message_id(connection: sa.Connection, station_id: str) -> int:
    """Return a message number not used before at the station."""
    taken = connection.execute(
        sa.select(display_messages.c.message_id)
        .where(display_messages.c.station_id == station_id)
        .order_by(display_messages.c.message_id.desc())
        .limit(1)
    ).scalar()
    return 1 if taken is None else taken + 1


def save_message(connection: sa.Connection, station_id: str, info: MessageInfo, state: str, now_ms: int) -> None:
    """Store a message that a station shows, or rejected."""
    where = (display_messages.c.station_id == station_id) & (display_messages.c.message_id == info.id)
    values = {
        "state": state, "transaction_id": info.transaction_id, "updated_ms": now_ms,
        "document": msgspec.json.encode(info).decode(),
        "ends_ms": parse_time(info.end_date_time) if info.end_date_time else None,
    }  # fmt: skip
    if connection.execute(sa.update(display_messages).where(where).values(**values)).rowcount == 0:
        connection.execute(sa.insert(display_messages).values(station_id=station_id, message_id=info.id, **values))


def end_message(connection: sa.Connection, station_id: str, message_id: int, state: str, now_ms: int) -> bool:
    """Mark a message as removed. False: it was not shown."""
    where = (
        (display_messages.c.station_id == station_id)
        & (display_messages.c.message_id == message_id)
        & (display_messages.c.state == "Accepted")
    )
    values = {"state": state, "updated_ms": now_ms}
    return connection.execute(sa.update(display_messages).where(where).values(**values)).rowcount > 0


def end_messages_of(connection: sa.Connection, station_id: str, transaction_id: str, now_ms: int) -> int:
    """Remove a transaction's messages at its end (O02.FR.02). Return how many there were."""
    where = (
        (display_messages.c.station_id == station_id)
        & (display_messages.c.transaction_id == transaction_id)
        & (display_messages.c.state == "Accepted")
    )
    values = {"state": "Ended", "updated_ms": now_ms}
    return connection.execute(sa.update(display_messages).where(where).values(**values)).rowcount


def expire_messages(connection: sa.Connection, now_ms: int) -> int:
    """Mark expired messages as removed, as stations do (O01.FR.06). Return how many."""
    where = (display_messages.c.state == "Accepted") & (display_messages.c.ends_ms <= now_ms)
    values = {"state": "Expired", "updated_ms": now_ms}
    return connection.execute(sa.update(display_messages).where(where).values(**values)).rowcount


def keep_only_messages(connection: sa.Connection, station_id: str, message_ids: Iterable[int], now_ms: int) -> None:
    """After a complete report of messages: mark all others as removed."""
    where = (
        (display_messages.c.station_id == station_id)
        & (display_messages.c.state == "Accepted")
        & display_messages.c.message_id.not_in(tuple(message_ids))
    )
    connection.execute(sa.update(display_messages).where(where).values(state="Gone", updated_ms=now_ms))


def list_messages(connection: sa.Connection, station_id: str, *, shown: bool = False) -> list[dict[str, object]]:
    """Return the messages of a station, documents decoded; `shown` only those displayed now."""
    query = sa.select(display_messages).where(display_messages.c.station_id == station_id)
    if shown:
        query = query.where(display_messages.c.state == "Accepted")
    return [
        {**row._mapping, "document": msgspec.json.decode(row.document)}
        for row in connection.execute(query.order_by(display_messages.c.message_id))
    ]
