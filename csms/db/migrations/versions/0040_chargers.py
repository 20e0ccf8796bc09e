"""Which station a charger is of, by the subject of its certificate.

Revision 0040.
"""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, empty: the next session that a charger signs says whose it is."""
    op.create_table(
        "chargers",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("station_id", sa.String(48), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_chargers_station_id_since_ms", "chargers", ["station_id", "since_ms"])
