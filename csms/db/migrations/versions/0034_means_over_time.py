"""Telemetry: means of aggregates are over time. They are made anew where all records of an interval are still there.

Older intervals keep the mean of their records; `held_ms` 0 tells them.

Revision 0034.
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_WIDEST_MS = 900_000
_RUN = 1000
"""Numbers of a run that is aggregated in one step."""


def upgrade() -> None:
    """Add columns and table, delete the aggregates of records that are there, and let these be aggregated again."""
    op.add_column("telemetry_aggregates", sa.Column("integral", sa.Double(), nullable=False, server_default="0"))
    op.add_column("telemetry_aggregates", sa.Column("held_ms", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "telemetry_segments",
        sa.Column("ev", sa.String(64), primary_key=True),
        sa.Column("boot", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("first_seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_telemetry_segments_at_ms", "telemetry_segments", ["at_ms"])
    # records are deleted by their arrival: of what was measured after the first arrival that is left, none is gone
    begin = f"(SELECT (min(received_ms) / {_WIDEST_MS} + 1) * {_WIDEST_MS} FROM telemetry)"  # noqa: S608 - our numbers
    op.execute(f"DELETE FROM telemetry_aggregates WHERE at_ms >= {begin}")  # noqa: S608
    waits = (
        "EXISTS (SELECT 1 FROM telemetry_pending p WHERE p.sink = 'aggregates' AND p.ev = t.ev AND p.boot = t.boot "
        "AND t.seq BETWEEN p.first_seq AND p.last_seq)"
    )
    numbered = (
        "SELECT ev, boot, seq, received_ms, seq - row_number() OVER (PARTITION BY ev, boot ORDER BY seq) AS run "  # noqa: S608
        f"FROM telemetry t WHERE at_ms >= {begin} AND NOT {waits}"
    )
    op.execute(
        "INSERT INTO telemetry_pending (sink, ev, boot, first_seq, last_seq, received_ms) "  # noqa: S608
        "SELECT 'aggregates', ev, boot, min(seq), max(seq), min(received_ms) "
        f"FROM ({numbered}) AS numbered GROUP BY ev, boot, run, seq / {_RUN}"
    )
