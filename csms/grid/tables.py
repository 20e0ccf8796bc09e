"""Grid signals, what their sources state and keep, and what stations have of the grid's limits."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, String, Text

from csms.db.base import declare_table

grid_sources: Final = declare_table(
    "grid_sources",
    Column("source", String(64), primary_key=True),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)

grid_signals: Final = declare_table(
    "grid_signals",
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("received_from", String(64), nullable=False),
    Column("document", Text, nullable=False),
    Column("tariff", String(64), nullable=False, default="", server_default=""),
    Column("export_limit_w", BigInteger, nullable=False, default=0, server_default="0"),
    Index(None, "tariff"),
)
"""Of old ones only the hash of their tariff and their limit stay; their `document` is empty."""

grid_memories: Final = declare_table(
    "grid_memories", Column("source", String(64), primary_key=True), Column("document", Text, nullable=False)
)
"""What the client of a grid source must not forget over a restart."""

grid_shares: Final = declare_table(
    "grid_shares",
    Column("station_id", String(48), primary_key=True),
    Column("node", String(130), primary_key=True),
    Column("site", String(60), nullable=False),
    Column("import_w", BigInteger, nullable=False),
    Column("export_w", BigInteger, nullable=False),
    Column("held_import_w", BigInteger),
    Column("held_export_w", BigInteger),
    Column("since_ms", BigInteger, nullable=False),
    Column("shared", String(64), nullable=False),
    Column("lowered_ms", BigInteger, nullable=False, server_default="0"),
)
"""What each station is to draw and feed back at most, by its EVSEs at a node of the tree of connection points, what it
has last accepted, since when, by which limits: their hash; and since when it is to accept less."""
