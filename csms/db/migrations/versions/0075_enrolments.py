"""Certificates that outside CAs have not issued yet."""

import sqlalchemy as sa
from alembic import op

revision = "0075"
down_revision = "0074"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "enrolments",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("kind", sa.String(32), primary_key=True),
        sa.Column("csr", sa.Text(), nullable=False),
        sa.Column("request_id", sa.BigInteger()),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
    )
