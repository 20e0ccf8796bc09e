"""Terms of tokens, their groups, and their transactions.

Revision 0008."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "token_groups",
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("group_id", name=op.f("pk_token_groups")),
    )
    op.create_table(
        "token_uses",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=False),
        sa.Column("token_type", sa.String(length=20), nullable=False),
        sa.Column("id_token", sa.String(length=255), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "transaction_id", name=op.f("pk_token_uses")),
    )
    op.create_index(op.f("ix_token_uses_group_id_since_ms"), "token_uses", ["group_id", "since_ms"], unique=False)
    op.create_index(
        op.f("ix_token_uses_token_type_id_token_since_ms"),
        "token_uses",
        ["token_type", "id_token", "since_ms"],
        unique=False,
    )
    op.add_column("tokens", sa.Column("terms", sa.Text(), server_default="{}", nullable=False))
    op.add_column("tokens", sa.Column("source", sa.String(length=8), server_default="config", nullable=False))
