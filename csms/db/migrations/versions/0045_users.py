"""People who log in to the console, their sessions, and an index for its overview."""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"


def upgrade() -> None:
    """Create both tables, and the index."""
    op.create_table(
        "users",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("password", sa.String(200), nullable=False),
        sa.Column("initial", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("sealed_factor", sa.Text()),
        sa.Column("factor_step", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("login_ms", sa.BigInteger()),
    )
    op.create_table(
        "user_sessions",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), sa.ForeignKey("users.name", ondelete="CASCADE"), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_user_sessions_name", "user_sessions", ["name"])
    op.create_index("ix_user_sessions_seen_ms", "user_sessions", ["seen_ms"])
    op.create_index("ix_transactions_ended_ms", "transactions", ["ended_ms"])
