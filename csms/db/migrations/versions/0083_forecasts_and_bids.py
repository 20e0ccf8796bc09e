"""What fleets drew and could have done by quarter hour, and the bids that they have given.

Revision 0083.
"""

import sqlalchemy as sa
from alembic import op

revision = "0083"
down_revision = "0082"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both tables."""
    op.create_table(
        "fleet_quarters",
        sa.Column("at_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("fleet_id", sa.String(60), primary_key=True),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("load_w", sa.BigInteger(), nullable=False),
        sa.Column("up_w", sa.BigInteger(), nullable=False),
        sa.Column("down_w", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "fleet_bids",
        sa.Column("bid_id", sa.String(36), primary_key=True),
        sa.Column("fleet_id", sa.String(60), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Index("ix_fleet_bids_fleet_id_start_ms", "fleet_id", "start_ms"),
    )
