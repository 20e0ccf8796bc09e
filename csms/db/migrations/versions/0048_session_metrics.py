"""How the parts of stations work, by their sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "session_metrics",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("kind", sa.String(128), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("levels", sa.LargeBinary(), nullable=False),
        sa.Column("drift", sa.Float(), nullable=False),
        sa.Column("drift_by", sa.LargeBinary(), nullable=False),
        sa.Column("apart", sa.Float(), nullable=False),
        sa.Column("apart_by", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
    )
    op.create_index("ix_session_metrics_kind_changed_ms", "session_metrics", ["kind", "changed_ms"])
