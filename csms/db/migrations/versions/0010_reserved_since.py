"""Reservations store their start, from which their time is charged.

Revision 0010.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the column and the index."""
    op.add_column("reservations", sa.Column("since_ms", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index(
        op.f("ix_reservations_station_id_transaction_id"),
        "reservations",
        ["station_id", "transaction_id"],
        unique=False,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index(op.f("ix_reservations_station_id_transaction_id"), "reservations")
    op.drop_column("reservations", "since_ms")
