"""Transactions, their events and meter values."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from csms.db.base import metadata, row_id, transaction_key

transactions: Final = Table(
    "transactions",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("transaction_id", transaction_key, primary_key=True),
    Column("active", Boolean, nullable=False),
    Column("started_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("document", Text, nullable=False),
    Column("needs", Text),
    Column("heard_ms", BigInteger, nullable=False, default=0, server_default="0"),
    Column("answer", String(20), nullable=False, default="", server_default=""),  # about its token
    ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
    Index(None, "transaction_id"),
    Index(None, "station_id", "active"),
    Index(None, "started_ms"),
    Index(None, "ended_ms"),
    Index(None, "station_id", "started_ms"),
)

transaction_totals: Final = Table(
    "transaction_totals",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("transaction_id", transaction_key, primary_key=True),
    Column("end_ms", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("evse_id", Integer, nullable=False),
    Column("token", Text, nullable=False),
    Column("tariff", Text, nullable=False),
    Column("import_mwh", BigInteger, nullable=False),
    Column("export_mwh", BigInteger, nullable=False),
    ForeignKeyConstraint(["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]),
    Index(None, "end_ms"),
)
"""What ended transactions come to, for reports; those that run have no row."""

held_transactions: Final = Table(
    "held_transactions",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("transaction_id", transaction_key, primary_key=True),
    Column("state", String(12), nullable=False),
    Column("reason", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("begin_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("import_mwh", BigInteger, nullable=False),
    Column("export_mwh", BigInteger, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("decided_ms", BigInteger),
    Column("decided_by", String(255), nullable=False),
    Column("note", Text, nullable=False),
    ForeignKeyConstraint(["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]),
    Index(None, "state"),
)
"""Ended transactions that need a person's decision, or had it; the energy is what a release books."""

transaction_events: Final = Table(
    "transaction_events",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("transaction_id", transaction_key, nullable=False),
    Column("seq_no", BigInteger, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("trigger", String(32), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("earliest_ms", BigInteger),  # it cannot have happened before: see csms.booking.plausibility
    Column("offline", Boolean, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("document", Text, nullable=False),
    Column("samples", Text, nullable=False, default="[]", server_default="[]"),
    UniqueConstraint("station_id", "transaction_id", "seq_no"),
    ForeignKeyConstraint(["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]),
)

meter_values: Final = Table(
    "meter_values",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("evse_id", Integer),
    Column("at_ms", BigInteger, nullable=False),
    Column("measurand", String(64), nullable=False),
    Column("value", String(40), nullable=False),
    Column("unit", String(20), nullable=False),
    Column("context", String(24), nullable=False),
    Column("phase", String(8), nullable=False),
    Column("location", String(16), nullable=False),
    Column("signed", Text, nullable=False),
    Column("verdict", String(12), nullable=False, default="", server_default=""),
    ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
)
"""Readings outside transactions. Those of a transaction are in its events: `samples`, as JSON."""

grid_meters: Final = Table(
    "grid_meters",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("received_ms", BigInteger, nullable=False),
    Column("power_w", BigInteger, nullable=False),
    ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
)
"""The last power, below 0 fed in, of the meter at the grid connection that a station reads (EVSE 0, Upstream)."""

transaction_faults: Final = Table(
    "transaction_faults",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("transaction_id", transaction_key, nullable=False),
    Column("seq_no", BigInteger, nullable=False),
    Column("kind", String(24), nullable=False),
    Column("detail", Text, nullable=False),
    Column("found_ms", BigInteger, nullable=False),
    ForeignKeyConstraint(["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]),
    Index(None, "station_id", "transaction_id"),
)

meter_keys: Final = Table(
    "meter_keys",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("evse_id", Integer, primary_key=True, autoincrement=False),  # 0: every meter of the station
    Column("public_key", Text, nullable=False),
    Column("noted_ms", BigInteger, nullable=False),
)
"""Trusted keys of meters, as OCPP's `publicKey`."""
