"""Firmware campaigns and the progress of each of their stations."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKeyConstraint, Index, Integer, String, Table, Text, false

from csms.db.base import metadata, row_id

campaigns: Final = Table(
    "campaigns",
    metadata,
    Column("campaign_id", row_id, primary_key=True),
    Column("name", String(100), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, default="", server_default=""),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index(None, "state"),
)

campaign_members: Final = Table(
    "campaign_members",
    metadata,
    Column("campaign_id", BigInteger, primary_key=True, autoincrement=False),
    Column("station_id", String(48), primary_key=True),
    Column("cohort", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("status", String(40), nullable=False, default="", server_default=""),
    Column("request_id", BigInteger),
    Column("not_before_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("begun_ms", BigInteger, nullable=False, default=0, server_default="0"),
    Column("installed_ms", BigInteger, nullable=False, default=0, server_default="0"),
    Column("forced", Boolean, nullable=False, default=False, server_default=false()),
    Column("back", Boolean, nullable=False, default=False, server_default=false()),
    Column("trouble", String(40), nullable=False, default="", server_default=""),
    Column("since_ms", BigInteger, nullable=False, default=0, server_default="0"),
    Column("spent_ms", BigInteger, nullable=False, default=0, server_default="0"),
    ForeignKeyConstraint(["campaign_id"], ["campaigns.campaign_id"]),
    Index(None, "request_id"),
)
