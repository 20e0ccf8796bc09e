"""Telemetry: the random id of each boot; boots that are known have none.

Revision 0030.
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("telemetry_marks", sa.Column("boot_id", sa.String(16), nullable=False, server_default=""))
