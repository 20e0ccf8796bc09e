"""Usage of allowances outlives its transaction.

Revision 0011."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.add_column("token_uses", sa.Column("energy_wh", sa.BigInteger(), nullable=True))
    op.add_column("token_uses", sa.Column("cost", sa.BigInteger(), nullable=True))
