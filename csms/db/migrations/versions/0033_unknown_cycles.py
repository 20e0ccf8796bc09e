"""Cycles of postings may be unknown.

Revision 0033.
"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the columns anew: until here no capacity was known, and all values were 0."""
    for name in ("full_cycles", "v2g_cycles"):
        op.drop_column("postings", name)
        op.add_column("postings", sa.Column(name, sa.BigInteger()))
