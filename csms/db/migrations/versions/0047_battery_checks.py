"""Checks of batteries against measurements, and monthly reports of them."""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"

_row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables, and the count of changes by people."""
    op.add_column("battery_states", sa.Column("changes", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "battery_checks",
        sa.Column("id", _row_id, primary_key=True),
        sa.Column("ev", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_battery_checks_ev_at_ms", "battery_checks", ["ev", "at_ms"])
    op.create_index("ix_battery_checks_at_ms", "battery_checks", ["at_ms"])
    op.create_table(
        "battery_reports",
        sa.Column("month", sa.String(7), primary_key=True),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
    )
