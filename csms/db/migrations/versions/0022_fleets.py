"""Fleets that are planned together.

Revision 0022.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "fleets",
        sa.Column("fleet_id", sa.String(60), primary_key=True),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("call", sa.Text()),
    )
