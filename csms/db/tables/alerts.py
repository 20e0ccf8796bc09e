"""Alerts, and what is known of batteries."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table

from csms.db.tables.base import metadata, row_id

alerts: Final = Table(
    "alerts",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("subject_kind", String(16), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("raised_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("cleared_ms", BigInteger),
    Column("count", Integer, nullable=False),
    Column("told", String(8), nullable=False),
    Column("escalated_ms", BigInteger),
    Column("acknowledged_ms", BigInteger),
    Column("acknowledged_by", String(128), nullable=False),
    Column("note", String(200), nullable=False),
    Column("evidence", LargeBinary, nullable=False),  # Evidence, as JSON; of vehicles sealed
    Index(None, "subject_kind", "subject", "kind", unique=True),
    Index(None, "told"),
)

battery_states: Final = Table(
    "battery_states",
    metadata,
    Column("ev", String(64), primary_key=True),
    Column("boot", BigInteger, nullable=False),  # up to this record
    Column("seq", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),  # BatteryState, as JSON
)

battery_estimates: Final = Table(
    "battery_estimates",
    metadata,
    Column("ev", String(64), primary_key=True),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),  # begin of the interval
    Column("document", LargeBinary, nullable=False),  # the last estimates in it by name, as JSON
    Index(None, "at_ms"),
)
