"""Payment mandates, and the debits of postings by them."""

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table, Text

from csms.db.base import metadata, row_id

mandates: Final = Table(
    "mandates",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("vehicle", String(255), nullable=False),
    Column("payer", String(255), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("most_micro", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reference", String(255), nullable=False),
    Column("approval_url", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "state"),
    Index(None, "vehicle"),
)

debits: Final = Table(
    "debits",
    metadata,
    Column("posting_id", row_id, ForeignKey("postings.id"), primary_key=True, autoincrement=False),
    Column("mandate_id", row_id, ForeignKey("mandates.id"), nullable=False),
    Column("key", String(200), nullable=False, unique=True),
    Column("amount_micro", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reference", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index(None, "state"),
    Index(None, "mandate_id"),
)
"""One row for each posting that was looked at; `due` is stored before the provider is asked."""
