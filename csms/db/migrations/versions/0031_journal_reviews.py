"""What is decided about journals before they are booked, and what that is decided by.

Revision 0031.
"""

import sqlalchemy as sa
from alembic import op

from csms.domain.billing.booking import tariff_digest
from v2g.energy.grid_signal import parse_grid_signal

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables and columns; sessions that are booked count as booked, and signals get the hash of their tariff."""
    op.create_table(
        "journal_certificates",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("session_id", sa.String(64), primary_key=True),
        sa.Column("charger", sa.LargeBinary(), nullable=False),
        sa.Column("contract", sa.LargeBinary(), nullable=False),
        sa.Column("emaid", sa.String(255), nullable=False),
    )
    op.create_table(
        "journal_reviews",
        sa.Column("station_id", sa.String(48), primary_key=True),
        sa.Column("session_id", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("transaction_id", sa.String(36), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("begin_ms", "end_ms")),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("since_ms", "due_ms")),
        sa.Column("decided_ms", sa.BigInteger()),
        sa.Column("decided_by", sa.String(255), nullable=False, server_default=""),
        sa.Column("note", sa.Text(), nullable=False, server_default=""),
    )
    op.create_index("ix_journal_reviews_state", "journal_reviews", ["state"])
    op.create_index("ix_journal_reviews_station_id_transaction_id", "journal_reviews", ["station_id", "transaction_id"])
    op.add_column("transactions", sa.Column("answer", sa.String(20), nullable=False, server_default=""))
    op.create_index("ix_transactions_station_id_started_ms", "transactions", ["station_id", "started_ms"])
    op.add_column("grid_signals", sa.Column("tariff", sa.String(64), nullable=False, server_default=""))
    op.add_column("grid_signals", sa.Column("export_limit_w", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("ix_grid_signals_tariff", "grid_signals", ["tariff"])
    op.execute(
        "INSERT INTO journal_reviews "
        "(station_id, session_id, state, transaction_id, begin_ms, end_ms, reason, detail, since_ms, due_ms) "
        "SELECT station_id, session_id, 'booked', '', 0, 0, '', '', computed_ms, computed_ms FROM settlements"
    )
    connection = op.get_bind()
    for version, document in connection.execute(sa.text("SELECT version, document FROM grid_signals")).all():
        signal = parse_grid_signal(document.encode())
        connection.execute(
            sa.text("UPDATE grid_signals SET tariff = :tariff, export_limit_w = :watts WHERE version = :version"),
            {"tariff": tariff_digest(signal.tariff()), "watts": signal.export_limit_w, "version": version},
        )
