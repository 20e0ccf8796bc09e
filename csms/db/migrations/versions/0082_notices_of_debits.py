"""Notices to payers before debits.

Revision 0082.
"""

import sqlalchemy as sa
from alembic import op

revision = "0082"
down_revision = "0081"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns: debits so far were made without a notice of ours."""
    op.add_column("debits", sa.Column("notice", sa.String(255), nullable=False, server_default=""))
    op.add_column("debits", sa.Column("noticed_ms", sa.BigInteger()))
