"""Stations, transactions, meter values, tokens, journal copies, settlements, grid signals and telemetry.

Revision 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "grid_signals",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_from", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_grid_signals")),
    )
    op.create_table(
        "journals",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.String(length=128), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("station_id", "session_id", name=op.f("pk_journals")),
    )
    op.create_table(
        "settlements",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("computed_ms", sa.BigInteger(), nullable=False),
        sa.Column("journal_head", sa.String(length=128), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "session_id", name=op.f("pk_settlements")),
    )
    op.create_table(
        "stations",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("protocol", sa.String(length=16), nullable=False),
        sa.Column("boot_status", sa.String(length=16), server_default="", nullable=False),
        sa.Column("boot_reason", sa.String(length=32), server_default="", nullable=False),
        sa.Column("booted_ms", sa.BigInteger(), nullable=True),
        sa.Column("vendor", sa.String(length=50), server_default="", nullable=False),
        sa.Column("model", sa.String(length=20), server_default="", nullable=False),
        sa.Column("serial_number", sa.String(length=25), server_default="", nullable=False),
        sa.Column("firmware", sa.String(length=50), server_default="", nullable=False),
        sa.Column("signal_version", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("station_id", name=op.f("pk_stations")),
    )
    op.create_table(
        "telemetry",
        sa.Column("ev", sa.String(length=64), nullable=False),
        sa.Column("boot", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("ev", "boot", "seq", name=op.f("pk_telemetry")),
    )
    op.create_index(op.f("ix_telemetry_ev_at_ms"), "telemetry", ["ev", "at_ms"], unique=False)
    op.create_table(
        "telemetry_marks",
        sa.Column("ev", sa.String(length=64), nullable=False),
        sa.Column("boot", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("highest", sa.BigInteger(), nullable=False),
        sa.Column("contiguous", sa.BigInteger(), nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("conflicts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ev", "boot", name=op.f("pk_telemetry_marks")),
    )
    op.create_table(
        "tokens",
        sa.Column("token_type", sa.String(length=20), nullable=False),
        sa.Column("id_token", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("energy_transfer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("token_type", "id_token", name=op.f("pk_tokens")),
    )
    op.create_table(
        "connectors",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("evse_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("connector_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["station_id"], ["stations.station_id"], name=op.f("fk_connectors_station_id")),
        sa.PrimaryKeyConstraint("station_id", "evse_id", "connector_id", name=op.f("pk_connectors")),
    )
    op.create_table(
        "meter_values",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=True),
        sa.Column("seq_no", sa.BigInteger(), nullable=True),
        sa.Column("evse_id", sa.Integer(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("measurand", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=40), nullable=False),
        sa.Column("unit", sa.String(length=20), nullable=False),
        sa.Column("context", sa.String(length=24), nullable=False),
        sa.Column("phase", sa.String(length=8), nullable=False),
        sa.Column("location", sa.String(length=16), nullable=False),
        sa.Column("signed", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["station_id"], ["stations.station_id"], name=op.f("fk_meter_values_station_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter_values")),
    )
    op.create_index(
        op.f("ix_meter_values_station_id_transaction_id_seq_no"),
        "meter_values",
        ["station_id", "transaction_id", "seq_no"],
        unique=False,
    )
    op.create_table(
        "reports",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["station_id"], ["stations.station_id"], name=op.f("fk_reports_station_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
    )
    op.create_index(op.f("ix_reports_station_id_received_ms"), "reports", ["station_id", "received_ms"], unique=False)
    op.create_table(
        "transactions",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("needs", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["station_id"], ["stations.station_id"], name=op.f("fk_transactions_station_id")),
        sa.PrimaryKeyConstraint("station_id", "transaction_id", name=op.f("pk_transactions")),
    )
    op.create_index(op.f("ix_transactions_station_id_active"), "transactions", ["station_id", "active"], unique=False)
    op.create_index(op.f("ix_transactions_transaction_id"), "transactions", ["transaction_id"], unique=False)
    op.create_table(
        "transaction_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=False),
        sa.Column("seq_no", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("trigger", sa.String(length=32), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("offline", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["station_id", "transaction_id"],
            ["transactions.station_id", "transactions.transaction_id"],
            name=op.f("fk_transaction_events_station_id_transaction_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transaction_events")),
        sa.UniqueConstraint(
            "station_id",
            "transaction_id",
            "seq_no",
            name=op.f("uq_transaction_events_station_id_transaction_id_seq_no"),
        ),
    )


def downgrade() -> None:
    """Drop them, referring tables first."""
    for table in (
        "transaction_events",
        "transactions",
        "reports",
        "meter_values",
        "connectors",
        "tokens",
        "telemetry_marks",
        "telemetry",
        "stations",
        "settlements",
        "journals",
        "grid_signals",
    ):
        op.drop_table(table)
