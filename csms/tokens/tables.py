"""Tokens, groups, the transactions of tokens, and stations' local lists."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Text

from csms.db.base import declare_table, transaction_key

tokens: Final = declare_table(
    "tokens",
    Column("token_type", String(20), primary_key=True),
    Column("id_token", String(255), primary_key=True),  # normalised: see csms.tokens.rules
    Column("status", String(20), nullable=False),
    Column("energy_transfer", Text, nullable=False),
    Column("terms", Text, nullable=False, default="{}", server_default="{}"),
    Column("source", String(8), nullable=False, default="config", server_default="config"),  # or "api"
)

token_groups: Final = declare_table(
    "token_groups", Column("group_id", String(36), primary_key=True), Column("document", Text, nullable=False)
)

token_uses: Final = declare_table(
    "token_uses",
    Column("station_id", String(48), primary_key=True),
    Column("transaction_id", transaction_key, primary_key=True),
    Column("token_type", String(20), nullable=False),
    Column("id_token", String(255), nullable=False),
    Column("group_id", String(36), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("energy_wh", BigInteger),  # set when the transaction is deleted
    Column("cost", BigInteger),
    Column("currency", String(3)),  # of the cost; null: stored by an earlier version, or none
    Index(None, "token_type", "id_token", "since_ms"),
    Index(None, "group_id", "since_ms"),
)
"""Only of tokens with `Known.is_tracked`; sessions at stations of roaming partners have their usage from the start."""

local_lists: Final = declare_table(
    "local_lists",
    Column("station_id", String(48), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("entries", Text, nullable=False),
)
