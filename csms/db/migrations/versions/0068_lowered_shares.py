"""Since when stations are to accept a lower share of the grid's limits.

Revision 0068.
"""

import sqlalchemy as sa
from alembic import op

revision = "0068"
down_revision = "0067"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("grid_shares", sa.Column("lowered_ms", sa.BigInteger(), nullable=False, server_default="0"))
