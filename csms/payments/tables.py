"""Payments without a token of the operator, battery swaps, and vendor data."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from csms.db.base import metadata, row_id, transaction_key

payment_settlements: Final = Table(
    "payment_settlements",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("psp_ref", String(255), primary_key=True),
    Column("settled_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("transaction_id", transaction_key),
    Column("status", String(16), nullable=False),
    Column("amount", String(40), nullable=False),
    Column("receipt_id", String(50), nullable=False, default="", server_default=""),
    Column("received_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index(None, "transaction_id"),
)

web_payments: Final = Table(
    "web_payments",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("evse_id", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("remote_start_id", BigInteger),
    Column("transaction_limit", Text),
    Index(None, "station_id", "state"),
)

qr_codes: Final = Table(
    "qr_codes",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("template", Text, nullable=False),
    Column("shared_secret", Text, nullable=False),  # sealed with the store's key; empty: a static code
    Column("validity_s", Integer, nullable=False),
    Column("length", Integer, nullable=False),
)

battery_swaps: Final = Table(
    "battery_swaps",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("request_id", BigInteger, nullable=False),
    Column("event", String(20), nullable=False),
    Column("token_type", String(20), nullable=False),
    Column("id_token", String(255), nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index(None, "station_id", "request_id"),
)

data_transfers: Final = Table(
    "data_transfers",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("vendor_id", String(255), nullable=False),
    Column("message_id", String(50), nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index(None, "station_id", "received_ms"),
)
