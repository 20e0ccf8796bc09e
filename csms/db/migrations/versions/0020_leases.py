"""Leases of tasks that only one node may perform at a time.

Revision 0020.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("node", sa.String(128), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
    )
