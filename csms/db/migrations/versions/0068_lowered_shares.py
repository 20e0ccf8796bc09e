"""Since when stations are to accept a lower share of the grid's limits."""

import sqlalchemy as sa
from alembic import op

revision = "0068"
down_revision = "0067"


def upgrade() -> None:
    """Add the column."""
    op.add_column("grid_shares", sa.Column("lowered_ms", sa.BigInteger(), nullable=False, server_default="0"))
