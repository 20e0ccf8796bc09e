"""Payment mandates, and the debits of postings by them.

Revision 0025.
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "mandates",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("vehicle", sa.String(255), nullable=False),
        sa.Column("payer", sa.String(255), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("most_micro", "created_ms", "expires_ms")),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reference", sa.String(255), nullable=False),
        sa.Column("approval_url", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    op.create_index("ix_mandates_state", "mandates", ["state"])
    op.create_index("ix_mandates_vehicle", "mandates", ["vehicle"])
    op.create_table(
        "debits",
        sa.Column("posting_id", _ID, sa.ForeignKey("postings.id"), primary_key=True, autoincrement=False),
        sa.Column("mandate_id", _ID, sa.ForeignKey("mandates.id"), nullable=False),
        sa.Column("key", sa.String(200), nullable=False, unique=True),
        sa.Column("amount_micro", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reference", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_debits_state", "debits", ["state"])
    op.create_index("ix_debits_mandate_id", "debits", ["mandate_id"])
