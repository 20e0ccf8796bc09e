"""What is installed in the nodes of this back end."""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table

from csms.db.base import metadata

node_firmware: Final = Table(
    "node_firmware",
    metadata,
    Column("node", String(64), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("hardware", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("number", Integer, nullable=False),  # 0: that with which it came
    Column("failed", Integer),
    Column("trying", Integer),  # not settled yet
)
