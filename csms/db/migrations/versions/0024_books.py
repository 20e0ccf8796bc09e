"""Books over sessions: postings, their entries, and closed periods.

Revision 0024.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "accounting_periods",
        sa.Column("period", sa.String(7), primary_key=True),
        sa.Column("closed_ms", sa.BigInteger(), nullable=False),
        sa.Column("postings", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(128), nullable=False),
    )
    sums = ("import_mwh", "export_mwh", "full_cycles", "v2g_cycles", "charging_ms", "discharging_ms", "idle_ms")
    op.create_table(
        "postings",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("period", sa.String(7), nullable=False),
        sa.Column("booked_ms", sa.BigInteger(), nullable=False),
        sa.Column("station_id", sa.String(48), nullable=False),
        sa.Column("session_id", sa.String(64), nullable=False),
        sa.Column("vehicle", sa.String(255), nullable=False),
        sa.Column("reverses", _ID, sa.ForeignKey("postings.id")),
        sa.Column("reversed", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in sums),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("ix_postings_session_id", "postings", ["session_id"])
    op.create_index("ix_postings_vehicle_period", "postings", ["vehicle", "period"])
    op.create_index("ix_postings_period", "postings", ["period"])
    op.create_table(
        "posting_entries",
        sa.Column("posting_id", _ID, sa.ForeignKey("postings.id"), primary_key=True, autoincrement=False),
        sa.Column("account", sa.String(16), primary_key=True),
        sa.Column("unit", sa.String(3), primary_key=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
    )
