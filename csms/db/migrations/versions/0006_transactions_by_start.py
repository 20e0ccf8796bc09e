"""Transactions are found by when they began.

Revision 0006.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.create_index(op.f("ix_transactions_started_ms"), "transactions", ["started_ms"], unique=False)
