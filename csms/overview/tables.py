"""The course of power and use, for comparisons with other days."""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table

from csms.db.base import metadata

power_course: Final = Table(
    "power_course",
    metadata,
    Column("site_id", String(60), primary_key=True),  # "": all stations
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("import_w", BigInteger, nullable=False),
    Column("export_w", BigInteger, nullable=False),
    Column("unknown", Integer, nullable=False),
    Column("sessions", Integer, nullable=False),
    Column("evses", Integer, nullable=False),
    Column("ready", Integer, nullable=False),
    Column("import_limit_w", BigInteger),
    Column("export_limit_w", BigInteger),
    Column("base_w", BigInteger),
)
"""Every five minutes: power in and out of vehicles, sessions, EVSEs and how many of them work, limits in force,
and what the grid connection draws beside the vehicles."""
