"""Telemetry: aggregates of all signals of an interval are one document, which the back end seals.

Revision 0042.
"""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

_VALUES = "minimum, maximum, total, number, last, last_ms, last_boot, last_seq, integral, held_ms"
_DOCUMENT = {
    "postgresql": f"convert_to(json_object_agg(signal, json_build_array({_VALUES}))::text, 'UTF8')",
    "sqlite": f"CAST(json_group_object(signal, json_array({_VALUES})) AS BLOB)",
}


def upgrade() -> None:
    """Join the rows of an interval; the back end seals them when it runs."""
    dialect = op.get_bind().dialect.name
    op.execute(
        "CREATE TABLE telemetry_aggregates_joined AS "  # noqa: S608 - our own text
        f"SELECT ev, width_s, at_ms, false AS sealed, {_DOCUMENT[dialect]} AS document FROM telemetry_aggregates "
        "GROUP BY ev, width_s, at_ms"
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
    op.execute("INSERT INTO telemetry_aggregates SELECT * FROM telemetry_aggregates_joined")
    op.drop_table("telemetry_aggregates_joined")
    op.create_index("ix_telemetry_aggregates_at_ms", "telemetry_aggregates", ["at_ms"])
    op.create_index("ix_telemetry_aggregates_sealed", "telemetry_aggregates", ["sealed"])
