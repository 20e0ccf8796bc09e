"""Charging stations and their connectors."""

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKeyConstraint, Integer, String

from csms.db.base import declare_table

stations: Final = declare_table(
    "stations",
    Column("station_id", String(48), primary_key=True),
    Column("first_seen_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Column("protocol", String(16), nullable=False),
    Column("boot_status", String(16), nullable=False, default="", server_default=""),
    Column("boot_reason", String(32), nullable=False, default="", server_default=""),
    Column("booted_ms", BigInteger),
    Column("connected_ms", BigInteger),
    Column("away_ms", BigInteger),  # when it was last heard before it was offline
    Column("left_ms", BigInteger),  # when its last connection ended, where that was noted
    Column("vendor", String(50), nullable=False, default="", server_default=""),
    Column("model", String(20), nullable=False, default="", server_default=""),
    Column("serial_number", String(25), nullable=False, default="", server_default=""),
    Column("firmware", String(50), nullable=False, default="", server_default=""),
    Column("signal_version", BigInteger),
)

connectors: Final = declare_table(
    "connectors",
    Column("station_id", String(48), primary_key=True),
    Column("evse_id", Integer, primary_key=True, autoincrement=False),
    Column("connector_id", Integer, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
)

connector_history: Final = declare_table(
    "connector_history",
    Column("station_id", String(48), primary_key=True),
    Column("evse_id", Integer, primary_key=True, autoincrement=False),
    Column("connector_id", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),
    ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
)
"""All states of connectors, by the station's clock."""

station_absences: Final = declare_table(
    "station_absences",
    Column("station_id", String(48), primary_key=True),
    Column("from_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("to_ms", BigInteger, nullable=False),
    ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
)
"""When a station that has come back was not connected."""
