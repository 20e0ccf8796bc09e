"""Telemetry is sealed: keys, and which signals a sealed record has. What is stored stays as it is.

Revision 0038.
"""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add table and column."""
    op.create_table(
        "telemetry_keys",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
    )
    op.add_column("telemetry", sa.Column("present", sa.BigInteger()))
