"""Shares of the grid's limits, which all stations behind a connection point have together.

Signals of before keep their meaning: a limit over all stations of the back end.
"""

import sqlalchemy as sa
from alembic import op

revision = "0065"
down_revision = "0064"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "grid_shares",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("node", sa.String(130), primary_key=True),
        sa.Column("site", sa.String(60), nullable=False),
        sa.Column("import_w", sa.BigInteger(), nullable=False),
        sa.Column("export_w", sa.BigInteger(), nullable=False),
        sa.Column("held_import_w", sa.BigInteger()),
        sa.Column("held_export_w", sa.BigInteger()),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("shared", sa.String(64), nullable=False),
    )
