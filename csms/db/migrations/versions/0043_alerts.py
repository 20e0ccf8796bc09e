"""Alerts, and states and estimates of batteries."""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"

_row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "alerts",
        sa.Column("id", _row_id, primary_key=True),
        sa.Column("subject_kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("raised_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("cleared_ms", sa.BigInteger()),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("told", sa.String(8), nullable=False),
        sa.Column("escalated_ms", sa.BigInteger()),
        sa.Column("acknowledged_ms", sa.BigInteger()),
        sa.Column("acknowledged_by", sa.String(128), nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_alerts_subject_kind_subject_kind", "alerts", ["subject_kind", "subject", "kind"], unique=True)
    op.create_index("ix_alerts_told", "alerts", ["told"])
    op.create_table(
        "battery_states",
        sa.Column("ev", sa.String(64), primary_key=True),
        sa.Column("boot", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "battery_estimates",
        sa.Column("ev", sa.String(64), primary_key=True),
        sa.Column("at_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_battery_estimates_at_ms", "battery_estimates", ["at_ms"])
