"""States, checks, reports and estimates of batteries."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String

from csms.db.base import declare_table, row_id

battery_states: Final = declare_table(
    "battery_states",
    Column("ev", String(64), primary_key=True),
    Column("boot", BigInteger, nullable=False),  # up to this record
    Column("seq", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),  # Battery, as JSON
    Column("changes", BigInteger, nullable=False, server_default="0"),  # by checks, beside its records
)

battery_checks: Final = declare_table(
    "battery_checks",
    Column("id", row_id, primary_key=True),
    Column("ev", String(64), nullable=False),
    Column("kind", String(16), nullable=False),  # reference, calibration
    Column("at_ms", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),  # BatteryCheck, as JSON, sealed
    Index(None, "ev", "at_ms"),
    Index(None, "at_ms"),
)

battery_reports: Final = declare_table(
    "battery_reports",
    Column("month", String(7), primary_key=True),
    Column("made_ms", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),  # BatteryReport, as JSON
)

battery_estimates: Final = declare_table(
    "battery_estimates",
    Column("ev", String(64), primary_key=True),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),  # begin of the interval
    Column("document", LargeBinary, nullable=False),  # the last estimates in it by name, as JSON
    Index(None, "at_ms"),
)
