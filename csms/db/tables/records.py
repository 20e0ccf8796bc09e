"""Journal copies, settlements and grid signals."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, String, Table, Text

from csms.db.tables.base import metadata

journals: Final = Table(
    "journals",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("session_id", String(64), primary_key=True),
    Column("lines", BigInteger, nullable=False),
    Column("head", String(128), nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False, default=0, server_default="0"),
)

journal_lines: Final = Table(
    "journal_lines",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("session_id", String(64), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("line", LargeBinary, nullable=False),
)

settlements: Final = Table(
    "settlements",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("session_id", String(64), primary_key=True),
    Column("computed_ms", BigInteger, nullable=False),
    Column("journal_head", String(128), nullable=False),
    Column("document", Text, nullable=False),
)

grid_sources: Final = Table(
    "grid_sources",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)

grid_signals: Final = Table(
    "grid_signals",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("received_from", String(64), nullable=False),
    Column("document", Text, nullable=False),
)
