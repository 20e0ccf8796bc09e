"""What meters at grid connections read, beside the power.

Revision 0084.
"""

import sqlalchemy as sa
from alembic import op

revision = "0084"
down_revision = "0083"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("grid_meters", sa.Column("reading", sa.Text(), nullable=False, server_default="{}"))
