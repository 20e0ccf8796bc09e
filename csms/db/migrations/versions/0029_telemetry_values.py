"""Telemetry: aggregates, latest states, and what waits for sinks; `csms.db.store` adds the columns of signals.

Revision 0029.
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add tables and indexes; stored records wait for their aggregation."""
    op.add_column("telemetry", sa.Column("context", sa.String(16), nullable=False, server_default=""))
    op.create_index("ix_telemetry_received_ms", "telemetry", ["received_ms"])
    op.create_table(
        "telemetry_pending",
        sa.Column("id", _row_id, primary_key=True),
        sa.Column("sink", sa.String(64), nullable=False),
        sa.Column("ev", sa.String(64), nullable=False),
        sa.Column("boot", sa.BigInteger(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_telemetry_pending_sink_id", "telemetry_pending", ["sink", "id"])
    op.create_index("ix_telemetry_pending_ev", "telemetry_pending", ["ev"])
    op.create_table(
        "telemetry_aggregates",
        sa.Column("ev", sa.String(64), primary_key=True),
        sa.Column("signal", sa.String(64), primary_key=True),
        sa.Column("width_s", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("minimum", "maximum", "total")),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.Double(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("last_ms", "last_boot", "last_seq")),
    )
    op.create_index("ix_telemetry_aggregates_at_ms", "telemetry_aggregates", ["at_ms"])
    op.create_table(
        "telemetry_states",
        sa.Column("ev", sa.String(64), primary_key=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
    )
    op.execute(
        "INSERT INTO telemetry_pending (sink, ev, boot, first_seq, last_seq, received_ms) "
        "SELECT 'aggregates', ev, boot, seq, seq, received_ms FROM telemetry ORDER BY ev, boot, seq"
    )
