"""Who takes care of an alert.

Revision 0070.
"""

import sqlalchemy as sa
from alembic import op

revision = "0070"
down_revision = "0069"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the column."""
    op.add_column("alerts", sa.Column("assigned", sa.String(128), nullable=False, server_default=""))
