"""Telemetry records, those in quarantine, and the progress of each boot."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, Text

from csms.db.tables.base import metadata

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

telemetry_quarantine: Final = Table(
    "telemetry_quarantine",
    metadata,
    Column("ev", String(64), primary_key=True),
    Column("boot", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("schema_version", String(64), nullable=False),
    Column("reason", String(200), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("document", LargeBinary, nullable=False),
)

vehicle_checkpoints: Final = Table(
    "vehicle_checkpoints",
    metadata,
    Column("session_id", String(16), primary_key=True),
    Column("ev", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),  # the line of its file of copies
)

telemetry_marks: Final = Table(
    "telemetry_marks",
    metadata,
    Column("ev", String(64), primary_key=True),
    Column("boot", BigInteger, primary_key=True, autoincrement=False),
    Column("highest", BigInteger, nullable=False),
    Column("contiguous", BigInteger, nullable=False),
    Column("arrived", Text, nullable=False, server_default="[]"),  # ranges of numbers, as JSON
    Column("gaps", Text, nullable=False, server_default="[]"),  # ranges that are missing for good
    Column("stored", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("conflicts", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False, server_default="0"),
    Column("missing", BigInteger, nullable=False, server_default="0"),
)
