"""Which node does what only one may do at a time."""

from typing import Final

from sqlalchemy import BigInteger, Column, String, Table

from csms.db.tables.base import metadata

leases: Final = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("node", String(128), nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)
