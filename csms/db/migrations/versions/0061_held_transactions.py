"""Transactions that are held, and what bounds the time of events.

What was final before stays so.
"""

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0060"


def upgrade() -> None:
    """Create the table, and add the columns."""
    op.create_table(
        "held_transactions",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("transaction_id", sa.String(36), primary_key=True),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("begin_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("import_mwh", sa.BigInteger(), nullable=False),
        sa.Column("export_mwh", sa.BigInteger(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_ms", sa.BigInteger()),
        sa.Column("decided_by", sa.String(255), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]
        ),
    )
    op.create_index("ix_held_transactions_state", "held_transactions", ["state"])
    op.add_column("transaction_events", sa.Column("earliest_ms", sa.BigInteger()))
    for name in ("connected_ms", "away_ms"):
        op.add_column("stations", sa.Column(name, sa.BigInteger()))
