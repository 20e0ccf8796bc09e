"""The database, declared. Migrations bring an existing file here; a test compares the two.

Times are ms since 1970 in UTC. Documents are stored as JSON text, exactly as they are answered.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_row_id = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself only when they are INTEGER

stations: Final = Table(
    "stations",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("first_seen_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Column("protocol", String(16), nullable=False),
    Column("boot_status", String(16), nullable=False, default="", server_default=""),
    Column("boot_reason", String(32), nullable=False, default="", server_default=""),
    Column("booted_ms", BigInteger),
    Column("vendor", String(50), nullable=False, default="", server_default=""),
    Column("model", String(20), nullable=False, default="", server_default=""),
    Column("serial_number", String(25), nullable=False, default="", server_default=""),
    Column("firmware", String(50), nullable=False, default="", server_default=""),
    Column("signal_version", BigInteger),
)

connectors: Final = Table(
    "connectors",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("evse_id", Integer, primary_key=True, autoincrement=False),
    Column("connector_id", Integer, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
)

tokens: Final = Table(
    "tokens",
    metadata,
    Column("token_type", String(20), primary_key=True),
    Column("id_token", String(255), primary_key=True),  # normalised: see csms.core.authorize
    Column("status", String(20), nullable=False),
    Column("energy_transfer", Text, nullable=False),
)

transactions: Final = Table(
    "transactions",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("transaction_id", String(36), primary_key=True),
    Column("active", Boolean, nullable=False),
    Column("started_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("document", Text, nullable=False),
    Column("needs", Text),
    ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
    Index(None, "transaction_id"),
    Index(None, "station_id", "active"),
)

transaction_events: Final = Table(
    "transaction_events",
    metadata,
    Column("id", _row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("transaction_id", String(36), nullable=False),
    Column("seq_no", BigInteger, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("trigger", String(32), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("offline", Boolean, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("document", Text, nullable=False),
    UniqueConstraint("station_id", "transaction_id", "seq_no"),
    ForeignKeyConstraint(["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]),
)

meter_values: Final = Table(
    "meter_values",
    metadata,
    Column("id", _row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("transaction_id", String(36)),
    Column("seq_no", BigInteger),
    Column("evse_id", Integer),
    Column("at_ms", BigInteger, nullable=False),
    Column("measurand", String(64), nullable=False),
    Column("value", String(40), nullable=False),
    Column("unit", String(20), nullable=False),
    Column("context", String(24), nullable=False),
    Column("phase", String(8), nullable=False),
    Column("location", String(16), nullable=False),
    Column("signed", Text, nullable=False),
    ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
    Index(None, "station_id", "transaction_id", "seq_no"),
)

reports: Final = Table(
    "reports",
    metadata,
    Column("id", _row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("action", String(40), nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
    Index(None, "station_id", "received_ms"),
)

journals: Final = Table(
    "journals",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("session_id", String(64), primary_key=True),
    Column("lines", BigInteger, nullable=False),
    Column("head", String(128), nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False, default=0, server_default="0"),
)

settlements: Final = Table(
    "settlements",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("session_id", String(64), primary_key=True),
    Column("computed_ms", BigInteger, nullable=False),
    Column("journal_head", String(128), nullable=False),
    Column("document", Text, nullable=False),
)

grid_signals: Final = Table(
    "grid_signals",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("received_from", String(64), nullable=False),
    Column("document", Text, nullable=False),
)

telemetry: Final = Table(
    "telemetry",
    metadata,
    Column("ev", String(64), primary_key=True),
    Column("boot", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index(None, "ev", "at_ms"),
)

telemetry_marks: Final = Table(
    "telemetry_marks",
    metadata,
    Column("ev", String(64), primary_key=True),
    Column("boot", BigInteger, primary_key=True, autoincrement=False),
    Column("highest", BigInteger, nullable=False),
    Column("contiguous", BigInteger, nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("conflicts", BigInteger, nullable=False),
)
