"""Telemetry: how far each sink has got the records of each vehicle, to mark late ones.

Revision 0037.
"""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "telemetry_sink_positions",
        sa.Column("sink", sa.String(64), primary_key=True),
        sa.Column("ev", sa.String(64), primary_key=True),
        sa.Column("boot", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
    )
