"""Plans that fleets follow, and what grid connections draw beside the vehicles."""

import sqlalchemy as sa
from alembic import op

revision = "0080"
down_revision = "0079"


def upgrade() -> None:
    """Add the columns, and the table of meters at grid connections."""
    op.add_column("fleets", sa.Column("planned", sa.Text()))
    op.add_column("power_course", sa.Column("base_w", sa.BigInteger()))
    op.create_table(
        "grid_meters",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("power_w", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
    )
