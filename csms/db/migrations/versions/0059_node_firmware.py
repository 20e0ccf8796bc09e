"""What is installed in nodes, and which older programs can work with these tables."""

import sqlalchemy as sa
from alembic import op

revision = "0059"
down_revision = "0058"


def upgrade() -> None:
    """Create the table and the column."""
    op.create_table(
        "node_firmware",
        sa.Column("node", sa.String(64), primary_key=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("hardware", sa.String(64), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer()),
        sa.Column("trying", sa.Integer()),
    )
    op.add_column("alembic_version", sa.Column("oldest_reader", sa.String(32)))
