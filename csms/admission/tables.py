"""Which stations may connect, connection attempts, and why they failed."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, UniqueConstraint

from csms.db.base import metadata, row_id

admissions: Final = Table(
    "admissions",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("boot", String(16), nullable=False, default="", server_default=""),  # "": undecided
    Column("decided_ms", BigInteger),
    Column("decided_by", String(64), nullable=False, default="", server_default=""),
    Column("first_seen_ms", BigInteger),
    Column("last_seen_ms", BigInteger),
    Column("attempts", BigInteger, nullable=False, default=0, server_default="0"),
    Column("address", String(64), nullable=False, default="", server_default=""),
    Column("offered", String(255), nullable=False, default="", server_default=""),
    Column("security_profile", Integer, nullable=False, default=0, server_default="0"),
    Column("least_profile", Integer, nullable=False, default=0, server_default="0"),  # A05.FR.07
    Column("password", Text, nullable=False, default="", server_default=""),  # hashes: csms.admission.rules
    Column("next_password", Text, nullable=False, default="", server_default=""),
    Column("verified", Text, nullable=False, default="", server_default=""),  # marks: csms.admission.rules
    Column("password_ms", BigInteger),
    Column("expired_until_ms", BigInteger),  # until when an expired certificate is accepted, for renewal (A00.FR.429)
)

connection_faults: Final = Table(
    "door_faults",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),  # "": none in the attempt
    Column("address", String(64), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("detail", String(400), nullable=False),
    Column("hint", String(400), nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("times", BigInteger, nullable=False),
    UniqueConstraint("station_id", "address", "kind"),
    Index(None, "last_ms"),
)
