"""Campaigns: when a station began and installed, whether an operator wants it now, whether it goes back."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"


def upgrade() -> None:
    """Add the columns; plans that campaigns have keep what was usual when they were made."""
    for name in ("begun_ms", "installed_ms"):
        op.add_column("campaign_members", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    for name in ("forced", "back"):
        op.add_column("campaign_members", sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False))
    rows = sa.table("campaigns", sa.column("campaign_id"), sa.column("document"))
    connection = op.get_bind()
    for number, document in connection.execute(sa.select(rows)).all():
        plan = {"daily": 1.0, "window": None, "watch_s": 0} | json.loads(document)
        text = json.dumps(plan, separators=(",", ":"), ensure_ascii=False)
        connection.execute(sa.update(rows).where(rows.c.campaign_id == number).values(document=text))
