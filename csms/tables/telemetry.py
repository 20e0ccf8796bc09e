"""What vehicles report, and how far it has arrived."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table

from csms.tables.base import metadata

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
