"""Roots of a trust list, and which stations have been brought up to it."""

import sqlalchemy as sa
from alembic import op

revision = "0081"
down_revision = "0080"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "listed_roots",
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("kinds", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("removed_ms", sa.BigInteger()),
        sa.Column("pem", sa.Text(), nullable=False),
    )
    op.create_table(
        "trust_list_states",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("list_number", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("fetched_ms", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.String(255), nullable=False),
    )
    op.create_table(
        "root_rollouts",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("list_number", sa.BigInteger(), nullable=False),
        sa.Column("removes", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("detail", sa.String(255), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
    )
