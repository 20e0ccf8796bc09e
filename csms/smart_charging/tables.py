"""Smart charging: profiles at stations, external limits, plans of vehicles, templates, dynamic values."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKeyConstraint, Index, Integer, String, Text, text

from csms.db.base import declare_table, row_id, transaction_key

LOCAL: Final = r"""document LIKE '%"useLocalTime"\:true%'"""
"""Whether a profile is of local time: in just these words, else its index does not serve."""

charging_profiles: Final = declare_table(
    "charging_profiles",
    Column("station_id", String(48), primary_key=True),
    Column("profile_id", BigInteger, primary_key=True, autoincrement=False),
    Column("evse_id", Integer, nullable=False),
    Column("purpose", String(40), nullable=False),
    Column("stack_level", Integer, nullable=False),
    Column("source", String(20), nullable=False),
    Column("transaction_id", transaction_key),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index("ix_charging_profiles_local", "station_id", sqlite_where=text(LOCAL)),  # partial in PostgreSQL, too
)
"""Profiles that stations hold: accepted or reported."""

charging_limits: Final = declare_table(
    "charging_limits",
    Column("station_id", String(48), primary_key=True),
    Column("evse_id", Integer, primary_key=True, autoincrement=False),  # 0: the whole station
    Column("source", String(20), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)
"""External limits (K12, K13)."""

ev_schedules: Final = declare_table(
    "ev_schedules",
    Column("station_id", String(48), primary_key=True),
    Column("evse_id", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("within_limits", Boolean, nullable=False),
    Column("document", Text, nullable=False),
)
"""Vehicles' plans (K15, K17)."""

profile_templates: Final = declare_table(
    "profile_templates",
    Column("name", String(60), primary_key=True),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)

dynamic_schedules: Final = declare_table(
    "dynamic_schedules",
    Column("station_id", String(48), primary_key=True),
    Column("profile_id", BigInteger, primary_key=True, autoincrement=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)
"""Present values of dynamic profiles (K28)."""

limit_course: Final = declare_table(
    "limit_course",
    Column("station_id", String(48), primary_key=True),
    Column("transaction_id", transaction_key, primary_key=True),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("setpoint_w", BigInteger),
    Column("bounds", Text, nullable=False),
    ForeignKeyConstraint(["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]),
)
"""What limits a transaction's power, noted seconds after each change; profiles that operators set are not in it."""

limits_in_force: Final = declare_table(
    "limits_in_force",
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("profile_id", BigInteger, nullable=False),
    Column("evse_id", Integer, nullable=False),
    Column("purpose", String(40), nullable=False),
    Column("stack_level", Integer, nullable=False),
    Column("transaction_id", transaction_key),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger),
    Column("whole", Boolean, nullable=False),
    Column("steps", Text, nullable=False),
    Index(None, "station_id", "to_ms"),
    Index(None, "to_ms"),
)
"""What the profiles of stations permit over time, from their acceptance until they were replaced, cleared or unsure."""
