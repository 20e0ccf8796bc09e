"""One payment that begins at each EVSE.

Revision 0087.
"""

import sqlalchemy as sa
from alembic import op

revision = "0087"
down_revision = "0086"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Release what is second at an EVSE, and add the indexes."""
    beginning = "state IN ('requested', 'pending', 'authorized', 'starting')"
    op.execute(f"""
        UPDATE direct_payments SET state = 'releasing', reason = 'somebody pays at this plug already'
        WHERE state IN ('requested', 'pending', 'authorized') AND EXISTS (
            SELECT 1 FROM direct_payments AS other
            WHERE other.station_id = direct_payments.station_id AND other.evse_id = direct_payments.evse_id
            AND other.{beginning} AND (other.state = 'starting' OR other.id < direct_payments.id)
        )
    """)  # noqa: S608 - our own words
    op.create_index(
        "ix_direct_payments_beginning", "direct_payments", ["station_id", "evse_id"],
        unique=True, sqlite_where=sa.text(beginning), postgresql_where=sa.text(beginning),
    )  # fmt: skip
    op.create_index("ix_direct_payments_changed_ms", "direct_payments", ["changed_ms"])
