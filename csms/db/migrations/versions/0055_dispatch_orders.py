"""Set-points in force, which a node continues after a restart."""

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0054"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "dispatch_orders",
        sa.Column("node", sa.String(64), primary_key=True),
        sa.Column("document", sa.Text(), nullable=False),
    )
