"""The numbers of transactions of OCPP 1.6."""

import sqlalchemy as sa
from alembic import op

revision = "0069"
down_revision = "0068"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "ocpp16_transactions",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("station_id", sa.String(48), nullable=False),
        sa.Column("connector_id", sa.Integer(), nullable=False),
        sa.Column("start", sa.String(64), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("station_id", "start", name="uq_ocpp16_transactions_station_id_start"),
        sqlite_autoincrement=True,
    )
