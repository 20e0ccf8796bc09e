"""What each source of the grid signal states, where there are several.

Revision 0021.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "grid_sources",
        sa.Column("source", sa.String(64), primary_key=True),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
