"""Which webhooks include token numbers; the creators of existing ones may read them.

Revision 0019.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("webhooks", sa.Column("shows_tokens", sa.Boolean(), nullable=False, server_default=sa.true()))
