"""Countersigned checkpoints of charging journals, as vehicles delivered them.

Revision 0027.
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "vehicle_checkpoints",
        sa.Column("session_id", sa.String(16), primary_key=True),
        sa.Column("ev", sa.String(64), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
    )
