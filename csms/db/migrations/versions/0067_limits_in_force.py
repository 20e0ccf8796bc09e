"""The limits that stations had accepted, over time.

Of limits that were accepted before nothing is known.
"""

import sqlalchemy as sa
from alembic import op

revision = "0067"
down_revision = "0066"

_row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "limits_in_force",
        sa.Column("id", _row_id, primary_key=True),
        sa.Column("station_id", sa.String(48), nullable=False),
        sa.Column("profile_id", sa.BigInteger(), nullable=False),
        sa.Column("evse_id", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("stack_level", sa.Integer(), nullable=False),
        sa.Column("transaction_id", sa.String(64).with_variant(sa.String(36), "sqlite")),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger()),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("steps", sa.Text(), nullable=False),
    )
    op.create_index("ix_limits_in_force_station_id_to_ms", "limits_in_force", ["station_id", "to_ms"])
    op.create_index("ix_limits_in_force_to_ms", "limits_in_force", ["to_ms"])
