"""The time until which a station may connect with an expired certificate.

Revision 0015.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("admissions", sa.Column("expired_until_ms", sa.BigInteger()))
