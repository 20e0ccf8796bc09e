"""What limits transactions, and what plans of fleets said, over time."""

import sqlalchemy as sa
from alembic import op

revision = "0058"
down_revision = "0057"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "limit_course",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("transaction_id", sa.String(36), primary_key=True),
        sa.Column("at_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("setpoint_w", sa.BigInteger()),
        sa.Column("bounds", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]
        ),
    )
    op.create_table(
        "fleet_course",
        sa.Column("at_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("fleet_id", sa.String(60), primary_key=True),
        sa.Column("planned_w", sa.BigInteger(), nullable=False),
        sa.Column("asked_w", sa.BigInteger(), nullable=False),
        sa.Column("accepted_w", sa.BigInteger(), nullable=False),
        sa.Column("delivered_w", sa.BigInteger(), nullable=False),
        sa.Column("vehicles", sa.Integer(), nullable=False),
    )
