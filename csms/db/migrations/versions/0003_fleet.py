"""Requests with an outcome, remote starts, availability, reservations, local lists, campaigns, diagnostics, payments.

Revision 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "availability_orders",
        sa.Column("order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("evse_id", sa.Integer(), nullable=False),
        sa.Column("connector_id", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_availability_orders")),
    )
    op.create_index(
        op.f("ix_availability_orders_station_id_state"), "availability_orders", ["station_id", "state"], unique=False
    )
    op.create_table(
        "battery_swaps",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("request_id", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=20), nullable=False),
        sa.Column("token_type", sa.String(length=20), nullable=False),
        sa.Column("id_token", sa.String(length=255), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_battery_swaps")),
    )
    op.create_index(
        op.f("ix_battery_swaps_station_id_request_id"), "battery_swaps", ["station_id", "request_id"], unique=False
    )
    op.create_table(
        "campaigns",
        sa.Column("campaign_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", name=op.f("pk_campaigns")),
    )
    op.create_index(op.f("ix_campaigns_state"), "campaigns", ["state"], unique=False)
    op.create_table(
        "data_transfers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("vendor_id", sa.String(length=255), nullable=False),
        sa.Column("message_id", sa.String(length=50), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_transfers")),
    )
    op.create_index(
        op.f("ix_data_transfers_station_id_received_ms"), "data_transfers", ["station_id", "received_ms"], unique=False
    )
    op.create_table(
        "device_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("trigger", sa.String(length=16), nullable=False),
        sa.Column("component", sa.String(length=50), nullable=False),
        sa.Column("variable", sa.String(length=50), nullable=False),
        sa.Column("monitor_id", sa.BigInteger(), nullable=True),
        sa.Column("severity", sa.Integer(), nullable=True),
        sa.Column("cleared", sa.Boolean(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_events")),
    )
    op.create_index(op.f("ix_device_events_station_id_at_ms"), "device_events", ["station_id", "at_ms"], unique=False)
    op.create_table(
        "display_messages",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("message_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=True),
        sa.Column("ends_ms", sa.BigInteger(), nullable=True),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "message_id", name=op.f("pk_display_messages")),
    )
    op.create_table(
        "event_streams",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("monitor_id", sa.BigInteger(), nullable=False),
        sa.Column("interval_s", sa.Integer(), nullable=True),
        sa.Column("batch", sa.Integer(), nullable=True),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("closed_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("station_id", "stream_id", name=op.f("pk_event_streams")),
    )
    op.create_table(
        "local_lists",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", name=op.f("pk_local_lists")),
    )
    op.create_table(
        "monitors",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("monitor_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("variable", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("in_transaction", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(length=24), server_default="", nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "monitor_id", name=op.f("pk_monitors")),
    )
    op.create_table(
        "payment_settlements",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("psp_ref", sa.String(length=255), nullable=False),
        sa.Column("settled_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.String(length=40), nullable=False),
        sa.Column("receipt_id", sa.String(length=50), server_default="", nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "psp_ref", "settled_ms", name=op.f("pk_payment_settlements")),
    )
    op.create_index(
        op.f("ix_payment_settlements_transaction_id"), "payment_settlements", ["transaction_id"], unique=False
    )
    op.create_table(
        "remote_starts",
        sa.Column("remote_start_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("evse_id", sa.Integer(), nullable=True),
        sa.Column("token_type", sa.String(length=20), nullable=False),
        sa.Column("id_token", sa.String(length=255), nullable=False),
        sa.Column("transaction_limit", sa.Text(), nullable=True),
        sa.Column("requested_ms", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.String(length=40), server_default="", nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=True),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("remote_start_id", name=op.f("pk_remote_starts")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "reservations",
        sa.Column("reservation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("evse_id", sa.Integer(), nullable=True),
        sa.Column("connector_type", sa.String(length=20), nullable=True),
        sa.Column("token_type", sa.String(length=20), nullable=False),
        sa.Column("id_token", sa.String(length=255), nullable=False),
        sa.Column("group_type", sa.String(length=20), nullable=True),
        sa.Column("group_token", sa.String(length=255), nullable=True),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=True),
        sa.PrimaryKeyConstraint("reservation_id", name=op.f("pk_reservations")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_reservations_station_id_state"), "reservations", ["station_id", "state"], unique=False)
    op.create_table(
        "station_requests",
        sa.Column("request_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.String(length=40), server_default="", nullable=False),
        sa.Column("progress", sa.String(length=40), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_station_requests")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_station_requests_station_id_action"), "station_requests", ["station_id", "action"], unique=False
    )
    op.create_table(
        "stream_values",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("monitor_id", sa.BigInteger(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stream_values")),
    )
    op.create_index(
        op.f("ix_stream_values_station_id_stream_id_at_ms"),
        "stream_values",
        ["station_id", "stream_id", "at_ms"],
        unique=False,
    )
    op.create_table(
        "web_payments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("evse_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("remote_start_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_web_payments")),
    )
    op.create_index(op.f("ix_web_payments_station_id_state"), "web_payments", ["station_id", "state"], unique=False)
    op.create_table(
        "campaign_members",
        sa.Column("campaign_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("cohort", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=40), server_default="", nullable=False),
        sa.Column("request_id", sa.BigInteger(), nullable=True),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.campaign_id"], name=op.f("fk_campaign_members_campaign_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", "station_id", name=op.f("pk_campaign_members")),
    )
    op.create_index(op.f("ix_campaign_members_request_id"), "campaign_members", ["request_id"], unique=False)
    op.create_table(
        "request_parts",
        sa.Column("request_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"], ["station_requests.request_id"], name=op.f("fk_request_parts_request_id")
        ),
        sa.PrimaryKeyConstraint("request_id", "seq_no", name=op.f("pk_request_parts")),
    )


def downgrade() -> None:
    """Drop them, referring tables first."""
    op.drop_table("request_parts")
    op.drop_index(op.f("ix_campaign_members_request_id"), table_name="campaign_members")
    op.drop_table("campaign_members")
    op.drop_index(op.f("ix_web_payments_station_id_state"), table_name="web_payments")
    op.drop_table("web_payments")
    op.drop_index(op.f("ix_stream_values_station_id_stream_id_at_ms"), table_name="stream_values")
    op.drop_table("stream_values")
    op.drop_index(op.f("ix_station_requests_station_id_action"), table_name="station_requests")
    op.drop_table("station_requests")
    op.drop_index(op.f("ix_reservations_station_id_state"), table_name="reservations")
    op.drop_table("reservations")
    op.drop_table("remote_starts")
    op.drop_index(op.f("ix_payment_settlements_transaction_id"), table_name="payment_settlements")
    op.drop_table("payment_settlements")
    op.drop_table("monitors")
    op.drop_table("local_lists")
    op.drop_table("event_streams")
    op.drop_table("display_messages")
    op.drop_index(op.f("ix_device_events_station_id_at_ms"), table_name="device_events")
    op.drop_table("device_events")
    op.drop_index(op.f("ix_data_transfers_station_id_received_ms"), table_name="data_transfers")
    op.drop_table("data_transfers")
    op.drop_index(op.f("ix_campaigns_state"), table_name="campaigns")
    op.drop_table("campaigns")
    op.drop_index(op.f("ix_battery_swaps_station_id_request_id"), table_name="battery_swaps")
    op.drop_table("battery_swaps")
    op.drop_index(op.f("ix_availability_orders_station_id_state"), table_name="availability_orders")
    op.drop_table("availability_orders")
