"""Keys of transactions whose station uses an id again have their begin, too."""

import sqlalchemy as sa
from alembic import op

revision = "0063"
down_revision = "0062"

_TABLES = (
    "charging_profiles",
    "display_messages",
    "held_transactions",
    "journal_reviews",
    "limit_course",
    "payment_settlements",
    "remote_starts",
    "reservations",
    "token_uses",
    "transaction_costs",
    "transaction_events",
    "transaction_faults",
    "transaction_plans",
    "transaction_totals",
    "transactions",
)


def upgrade() -> None:
    """Let columns be longer, where lengths are enforced."""
    if op.get_bind().dialect.name == "postgresql":
        for table in _TABLES:
            op.alter_column(table, "transaction_id", type_=sa.String(64))
