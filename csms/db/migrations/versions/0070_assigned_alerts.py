"""Who takes care of an alert."""

import sqlalchemy as sa
from alembic import op

revision = "0070"
down_revision = "0069"


def upgrade() -> None:
    """Create the column."""
    op.add_column("alerts", sa.Column("assigned", sa.String(128), nullable=False, server_default=""))
