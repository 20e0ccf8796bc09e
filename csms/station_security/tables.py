"""Security events, certificates that the built-in authority has issued, and which charger is a station's."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from csms.db.base import metadata, row_id

security_events: Final = Table(
    "security_events",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("source", String(8), nullable=False),  # "station", or "csms" for events of the back end
    Column("type", String(50), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("tech_info", String(255), nullable=False, default="", server_default=""),
    Column("times", BigInteger, nullable=False, default=1, server_default="1"),
    Column("last_ms", BigInteger),  # of the last repetition
    Index(None, "station_id", "at_ms"),
)

station_certificates: Final = Table(
    "station_certificates",
    metadata,
    Column("serial", String(40), primary_key=True),  # hex
    Column("station_id", String(48), nullable=False),
    Column("kind", String(32), nullable=False),  # CertificateSigningUseEnumType
    Column("subject", String(255), nullable=False),
    Column("issued_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),  # Issued, Accepted, Rejected, Failed, Used
    Column("pem", Text, nullable=False),
    Index(None, "station_id", "issued_ms"),
)

chargers: Final = Table(
    "chargers",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the subject (DER), hex
    Column("subject", Text, nullable=False),
    Column("station_id", String(48), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Index(None, "station_id", "since_ms"),
)
"""Chargers by the subject of their certificates: each is of one station."""
