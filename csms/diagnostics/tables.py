"""Monitors as stations hold them, events of device models, event streams, and messages on displays."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table, Text

from csms.db.base import metadata, row_id, transaction_key

monitors: Final = Table(
    "monitors",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("monitor_id", BigInteger, primary_key=True, autoincrement=False),
    Column("component", Text, nullable=False),
    Column("variable", Text, nullable=False),
    Column("kind", String(24), nullable=False),
    Column("value", Float),
    Column("severity", Integer, nullable=False),
    Column("in_transaction", Boolean, nullable=False),
    Column("source", String(24), nullable=False, default="", server_default=""),
    Column("updated_ms", BigInteger, nullable=False),
)

device_events: Final = Table(
    "device_events",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("event_id", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("trigger", String(16), nullable=False),
    Column("component", String(50), nullable=False),
    Column("variable", String(50), nullable=False),
    Column("monitor_id", BigInteger),
    Column("severity", Integer),
    Column("cleared", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Index(None, "station_id", "at_ms"),
)

event_streams: Final = Table(
    "event_streams",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("stream_id", BigInteger, primary_key=True, autoincrement=False),
    Column("monitor_id", BigInteger, nullable=False),
    Column("interval_s", Integer),
    Column("batch", Integer),
    Column("opened_ms", BigInteger, nullable=False),
    Column("closed_ms", BigInteger),
)

stream_values: Final = Table(
    "stream_values",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("stream_id", BigInteger, nullable=False),
    Column("monitor_id", BigInteger),
    Column("at_ms", BigInteger, nullable=False),
    Column("value", Text, nullable=False),
    Index(None, "station_id", "stream_id", "at_ms"),
)

display_messages: Final = Table(
    "display_messages",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("message_id", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("transaction_id", transaction_key),
    Column("ends_ms", BigInteger),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)
