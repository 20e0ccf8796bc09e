"""Prequalification by grid operators."""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table

from csms.db.base import metadata

prequalifications: Final = Table(
    "prequalifications",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("certificate", String(64), primary_key=True),
    Column("evse_id", Integer, nullable=False),  # 0: the whole station
    Column("operator", String(100), nullable=False),
    Column("valid_from_ms", BigInteger, nullable=False),
    Column("valid_until_ms", BigInteger, nullable=False),
    Column("most_export_w", BigInteger, nullable=False),
)
