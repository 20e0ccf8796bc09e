"""Why a station failed in a campaign, and how long its attempt has taken."""

import sqlalchemy as sa
from alembic import op

revision = "0062"
down_revision = "0061"


def upgrade() -> None:
    """Add the columns; the patience of attempts under way begins again."""
    op.add_column("campaign_members", sa.Column("trouble", sa.String(40), nullable=False, server_default=""))
    for name in ("since_ms", "spent_ms"):
        op.add_column("campaign_members", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE campaign_members SET since_ms = updated_ms")
