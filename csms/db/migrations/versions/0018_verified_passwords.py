"""Verification state of passwords, and repetitions of security events.

Revision 0018.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("admissions", sa.Column("verified", sa.Text(), nullable=False, server_default=""))
    op.add_column("security_events", sa.Column("times", sa.BigInteger(), nullable=False, server_default="1"))
    op.add_column("security_events", sa.Column("last_ms", sa.BigInteger(), nullable=True))
