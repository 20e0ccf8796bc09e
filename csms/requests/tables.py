"""Requests to stations with a later outcome, by their `requestId`, and the parts received."""

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKeyConstraint, Index, Integer, String, Table, Text

from csms.db.base import metadata, row_id

station_requests: Final = Table(
    "station_requests",
    metadata,
    Column("request_id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("action", String(40), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("answer", String(40), nullable=False, default="", server_default=""),
    Column("progress", String(40), nullable=False, default="", server_default=""),
    Column("detail", Text, nullable=False, default="", server_default=""),
    Column("done_ms", BigInteger),
    Column("document", Text, nullable=False),
    Index(None, "station_id", "action"),
    sqlite_autoincrement=True,
)

request_parts: Final = Table(
    "request_parts",
    metadata,
    Column("request_id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq_no", Integer, primary_key=True, autoincrement=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    ForeignKeyConstraint(["request_id"], ["station_requests.request_id"]),
)
