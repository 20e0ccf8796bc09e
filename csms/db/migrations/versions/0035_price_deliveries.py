"""Which prices each station was sent, and until when it held them.

Revision 0035.
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; of what was sent before only the newest version that each station accepted is known.

    So all signals that are stored whole count as held until now, that one and the newest further on.
    """
    op.create_table(
        "price_deliveries",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("tariff", sa.String(64), primary_key=True),
        sa.Column("sent_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("accepted_ms", sa.BigInteger()),
        sa.Column("ended_ms", sa.BigInteger()),
    )
    op.create_index("ix_price_deliveries_ended_ms", "price_deliveries", ["ended_ms"])
    op.get_bind().execute(
        sa.text(
            "INSERT INTO price_deliveries (station_id, tariff, sent_ms, accepted_ms, ended_ms) "
            "SELECT station_id, tariff, received_ms, CASE WHEN version = signal_version THEN received_ms END, "
            "CASE WHEN version IN (signal_version, (SELECT max(version) FROM grid_signals)) THEN NULL "
            "ELSE CAST(:now AS BIGINT) END "
            "FROM stations CROSS JOIN grid_signals WHERE signal_version IS NOT NULL AND document <> ''"
        ),
        {"now": int(time.time() * 1000)},
    )
