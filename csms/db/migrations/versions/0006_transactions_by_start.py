"""An index of transactions by their start.

Revision 0006.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index(op.f("ix_transactions_started_ms"), "transactions", ["started_ms"], unique=False)
