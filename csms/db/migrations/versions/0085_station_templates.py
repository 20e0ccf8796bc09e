"""Configuration templates, and where stations differ from them.

Revision 0085.
"""

import sqlalchemy as sa
from alembic import op

revision = "0085"
down_revision = "0084"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both tables."""
    op.create_table(
        "station_templates",
        sa.Column("template_id", sa.String(60), primary_key=True),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_table(
        "template_drift",
        sa.Column("template_id", sa.String(60), primary_key=True),
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("place", sa.String(240), primary_key=True),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("actual", sa.Text()),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Index("ix_template_drift_station_id", "station_id"),
    )
