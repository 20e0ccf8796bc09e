"""CDRs of a transaction reach a partner in order."""

import sqlalchemy as sa
from alembic import op

revision = "0074"
down_revision = "0073"


def upgrade() -> None:
    """Add the column."""
    op.add_column("roaming_deliveries", sa.Column("chain", sa.String(300), nullable=False, server_default=""))
