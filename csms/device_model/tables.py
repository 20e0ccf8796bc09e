"""The mirror of stations' device models, and their network profiles."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table, Text, false, text

from csms.db.base import metadata

device_variables: Final = Table(
    "device_variables",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("component", String(50), primary_key=True),
    Column("component_instance", String(50), primary_key=True),  # "": none, here and below; evse_id 0: the station's
    Column("evse_id", Integer, primary_key=True, autoincrement=False),
    Column("connector_id", Integer, primary_key=True, autoincrement=False),
    Column("variable", String(50), primary_key=True),
    Column("variable_instance", String(50), primary_key=True),
    Column("attribute", String(6), primary_key=True),
    Column("value", Text),
    Column("value_ms", BigInteger),
    Column("after_reboot", Text),  # takes effect when the station boots (B05, RebootRequired)
    Column("mutability", String(9), nullable=False, default="", server_default=""),
    Column("constant", Boolean, nullable=False, default=False, server_default=false()),
    Column("persistent", Boolean, nullable=False, default=False, server_default=false()),
    Column("data_type", String(12), nullable=False, default="", server_default=""),
    Column("unit", String(16), nullable=False, default="", server_default=""),
    Column("min_limit", Float),
    Column("max_limit", Float),
    Column("values_list", Text, nullable=False, default="", server_default=""),
    Column("supports_monitoring", Boolean, nullable=False, default=False, server_default=false()),
    Index(
        "ix_device_variables_temperature",
        "station_id",
        sqlite_where=text("variable = 'Temperature' AND attribute = 'Actual'"),  # and in PostgreSQL
    ),
)

network_profiles: Final = Table(
    "network_profiles",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("set_ms", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("document", Text, nullable=False),  # without passwords and keys
)
