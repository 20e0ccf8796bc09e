"""What clients of grid sources must not forget."""

import sqlalchemy as sa
from alembic import op

revision = "0073"
down_revision = "0072"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "grid_memories",
        sa.Column("source", sa.String(64), primary_key=True),
        sa.Column("document", sa.Text(), nullable=False),
    )
