"""Fleets that are planned together, what they did, and bids for them."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Text

from csms.db.base import declare_table

fleets: Final = declare_table(
    "fleets",
    Column("fleet_id", String(60), primary_key=True),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Column("call", Text),
    Column("planned", Text),
)
"""Fleets that are planned together, the call of their flexibility in force, and the plan that they follow."""

fleet_course: Final = declare_table(
    "fleet_course",
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("fleet_id", String(60), primary_key=True),
    Column("planned_w", BigInteger, nullable=False),
    Column("asked_w", BigInteger, nullable=False),
    Column("accepted_w", BigInteger, nullable=False),
    Column("delivered_w", BigInteger),
    Column("vehicles", Integer, nullable=False),
)
"""Minute by minute: what the plan of a fleet said, and what vehicles did."""

fleet_quarters: Final = declare_table(
    "fleet_quarters",
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("fleet_id", String(60), primary_key=True),
    Column("samples", Integer, nullable=False),
    Column("load_w", BigInteger, nullable=False),
    Column("up_w", BigInteger, nullable=False),
    Column("down_w", BigInteger, nullable=False),
)
"""Quarter hour by quarter hour: means of what a fleet drew, and of how far it could have deviated."""

fleet_bids: Final = declare_table(
    "fleet_bids",
    Column("bid_id", String(36), primary_key=True),
    Column("fleet_id", String(60), nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index(None, "fleet_id", "start_ms"),
)
