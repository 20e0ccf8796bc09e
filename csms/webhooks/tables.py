"""Webhooks and their deliveries."""

from typing import Final

import sqlalchemy as sa

from csms.db.base import declare_table, row_id

webhooks: Final = declare_table(
    "webhooks",
    sa.Column("webhook_id", sa.String(32), primary_key=True),
    sa.Column("url", sa.String(2000), nullable=False),
    sa.Column("sealed_secret", sa.Text, nullable=False, server_default=""),  # sealed with the store's key
    sa.Column("kinds", sa.Text, nullable=False),  # JSON; empty: all
    sa.Column("station_id", sa.String(48)),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("shows_tokens", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(128), nullable=False),
)

webhook_deliveries: Final = declare_table(
    "webhook_deliveries",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("webhook_id", sa.String(32), nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("due_ms", sa.BigInteger),  # null: delivered, or abandoned
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("delivered_ms", sa.BigInteger),
    sa.Column("error", sa.String(300), nullable=False),
    sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.webhook_id"], ondelete="CASCADE"),
    sa.Index(None, "due_ms"),
    sa.Index(None, "webhook_id", "id"),
)
