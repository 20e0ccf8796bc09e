"""Shared by all tables: the metadata with its naming convention, and the type of row numbers.

Times are ms since 1970 in UTC. Documents are stored as JSON text, exactly as they are answered.
"""

from typing import Final

from sqlalchemy import BigInteger, Integer, MetaData, String

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

row_id: Final = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows only when they are INTEGER."""

transaction_key: Final = String(64).with_variant(String(36), "sqlite")
"""A transaction's id, with its begin if its station had used the id before. SQLite does not count characters."""
