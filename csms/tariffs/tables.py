"""Price plans, their assignments, and the cost of transactions."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKeyConstraint, Index, Integer, String, Text

from csms.db.base import declare_table, row_id, transaction_key

price_plans: Final = declare_table(
    "price_plans",
    Column("plan_id", String(60), primary_key=True),
    Column("currency", String(3), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)

plan_assignments: Final = declare_table(
    "plan_assignments",
    Column("station_id", String(48), primary_key=True),  # "": every station
    Column("evse_id", Integer, primary_key=True, autoincrement=False),  # 0: every EVSE
    Column("token_type", String(20), primary_key=True),  # "": every driver
    Column("id_token", String(255), primary_key=True),  # normalised: see csms.tokens.rules
    Column("plan_id", String(60), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    ForeignKeyConstraint(["plan_id"], ["price_plans.plan_id"]),
)

plans_of_many: Final = declare_table(
    "plans_of_many",
    Column("kind", String(8), primary_key=True),  # site, or group of tokens
    Column("name", String(64), primary_key=True),
    Column("plan_id", String(60), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    ForeignKeyConstraint(["plan_id"], ["price_plans.plan_id"]),
)
"""Plans of all EVSEs of a site, or of all tokens of a group."""

past_plans: Final = declare_table(
    "past_plans",
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("evse_id", Integer, nullable=False),
    Column("token_type", String(20), nullable=False),
    Column("id_token", String(255), nullable=False),
    Column("kind", String(8), nullable=False),  # "": of a place or a driver
    Column("name", String(64), nullable=False),
    Column("plan_id", String(60), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Index(None, "station_id"),
    Index(None, "until_ms"),
)
"""Assignments that have ended, for sessions of before that stations report later."""

transaction_plans: Final = declare_table(
    "transaction_plans",
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("transaction_id", transaction_key, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("plan_id", String(60), nullable=False),
    ForeignKeyConstraint(["plan_id"], ["price_plans.plan_id"]),
    Index(None, "station_id", "transaction_id"),
)
"""The plans of a transaction, each with its start."""

transaction_costs: Final = declare_table(
    "transaction_costs",
    Column("station_id", String(48), primary_key=True),
    Column("transaction_id", transaction_key, primary_key=True),
    Column("currency", String(3), nullable=False),
    Column("excl_tax", BigInteger, nullable=False),  # micro-units
    Column("incl_tax", BigInteger, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("source", String(8), nullable=False),  # csms, or station when that calculated the cost
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)
