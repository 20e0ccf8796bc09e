"""Commands with a later outcome: remote starts, availability, reservations, local lists."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from csms.db.base import metadata, row_id, transaction_key

remote_starts: Final = Table(
    "remote_starts",
    metadata,
    Column("remote_start_id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("evse_id", Integer),
    Column("token_type", String(20), nullable=False),
    Column("id_token", String(255), nullable=False),
    Column("transaction_limit", Text),
    Column("requested_ms", BigInteger, nullable=False),
    Column("answer", String(40), nullable=False, default="", server_default=""),
    Column("transaction_id", transaction_key),
    Column("started_ms", BigInteger),
    sqlite_autoincrement=True,
)

availability_orders: Final = Table(
    "availability_orders",
    metadata,
    Column("order_id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("evse_id", Integer, nullable=False),  # 0: the whole station
    Column("connector_id", Integer, nullable=False),  # 0: the whole EVSE
    Column("wanted", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("not_before_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("detail", Text, nullable=False, default="", server_default=""),
    Index(None, "station_id", "state"),
)

reservations: Final = Table(
    "reservations",
    metadata,
    Column("reservation_id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("evse_id", Integer),
    Column("connector_type", String(20)),
    Column("token_type", String(20), nullable=False),
    Column("id_token", String(255), nullable=False),
    Column("group_type", String(20)),
    Column("group_token", String(255)),
    Column("expires_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("transaction_id", transaction_key),
    Column("since_ms", BigInteger, nullable=False, default=0, server_default="0"),
    Index(None, "station_id", "state"),
    Index(None, "station_id", "transaction_id"),
    sqlite_autoincrement=True,
)

local_lists: Final = Table(
    "local_lists",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("entries", Text, nullable=False),
)
