"""Telemetry: aggregates that release 0.2.0 has joined say whether they are sealed.

That release's 0042 made the table without the column.
"""

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0059"

_PLAIN = {"postgresql": "substr(document, 1, 1) = '\\x7b'::bytea", "sqlite": "substr(document, 1, 1) = x'7b'"}
"""A document that is not sealed begins as JSON."""


def upgrade() -> None:
    """Add the column where it is missing."""
    there = sa.inspect(op.get_bind()).get_columns("telemetry_aggregates")
    if any(each["name"] == "sealed" for each in there):
        return
    op.execute(
        "CREATE TABLE telemetry_aggregates_marked AS "  # noqa: S608 - our own text
        f"SELECT ev, width_s, at_ms, NOT ({_PLAIN[op.get_bind().dialect.name]}) AS sealed, document "
        "FROM telemetry_aggregates"
    )
    op.drop_table("telemetry_aggregates")
    op.create_table(
        "telemetry_aggregates",
        sa.Column("ev", sa.String(64), primary_key=True),
        sa.Column("width_s", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("sealed", sa.Boolean(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
    )
    op.execute("INSERT INTO telemetry_aggregates SELECT * FROM telemetry_aggregates_marked")
    op.drop_table("telemetry_aggregates_marked")
    op.create_index("ix_telemetry_aggregates_at_ms", "telemetry_aggregates", ["at_ms"])
    op.create_index("ix_telemetry_aggregates_sealed", "telemetry_aggregates", ["sealed"])
