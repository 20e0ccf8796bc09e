"""Prequalification records of grid operators.

Revision 0023.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "prequalifications",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("certificate", sa.String(64), primary_key=True),
        sa.Column("evse_id", sa.Integer(), nullable=False),
        sa.Column("operator", sa.String(100), nullable=False),
        sa.Column("valid_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("valid_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("most_export_w", sa.BigInteger(), nullable=False),
    )
