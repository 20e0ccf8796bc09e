"""Price plans and costs, smart charging, DER controls, faults of transactions, keys of meters.

Revision 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and columns."""
    op.create_table(
        "charging_limits",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("evse_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "evse_id", "source", name=op.f("pk_charging_limits")),
    )
    op.create_table(
        "charging_profiles",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("profile_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("evse_id", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(length=40), nullable=False),
        sa.Column("stack_level", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=True),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "profile_id", name=op.f("pk_charging_profiles")),
    )
    op.create_table(
        "der_alarms",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("control_type", sa.String(length=32), nullable=False),
        sa.Column("fault", sa.String(length=24), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_der_alarms")),
    )
    op.create_index(op.f("ix_der_alarms_station_id_at_ms"), "der_alarms", ["station_id", "at_ms"], unique=False)
    op.create_table(
        "der_controls",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("control_id", sa.String(length=36), nullable=False),
        sa.Column("control_type", sa.String(length=32), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("superseded", sa.Boolean(), nullable=False),
        sa.Column("started", sa.Boolean(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "control_id", name=op.f("pk_der_controls")),
    )
    op.create_table(
        "dynamic_schedules",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("profile_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "profile_id", name=op.f("pk_dynamic_schedules")),
    )
    op.create_table(
        "ev_schedules",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("evse_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("within_limits", sa.Boolean(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "evse_id", name=op.f("pk_ev_schedules")),
    )
    op.create_table(
        "meter_keys",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("evse_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("noted_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "evse_id", name=op.f("pk_meter_keys")),
    )
    op.create_table(
        "price_plans",
        sa.Column("plan_id", sa.String(length=60), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("plan_id", name=op.f("pk_price_plans")),
    )
    op.create_table(
        "profile_templates",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_profile_templates")),
    )
    op.create_table(
        "sites",
        sa.Column("site_id", sa.String(length=60), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("site_id", name=op.f("pk_sites")),
    )
    op.create_table(
        "transaction_costs",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("excl_tax", sa.BigInteger(), nullable=False),
        sa.Column("incl_tax", sa.BigInteger(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "transaction_id", name=op.f("pk_transaction_costs")),
    )
    op.create_table(
        "plan_assignments",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("evse_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("token_type", sa.String(length=20), nullable=False),
        sa.Column("id_token", sa.String(length=255), nullable=False),
        sa.Column("plan_id", sa.String(length=60), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["price_plans.plan_id"], name=op.f("fk_plan_assignments_plan_id")),
        sa.PrimaryKeyConstraint("station_id", "evse_id", "token_type", "id_token", name=op.f("pk_plan_assignments")),
    )
    op.create_table(
        "transaction_plans",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.String(length=60), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["price_plans.plan_id"], name=op.f("fk_transaction_plans_plan_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transaction_plans")),
    )
    op.create_index(
        op.f("ix_transaction_plans_station_id_transaction_id"),
        "transaction_plans",
        ["station_id", "transaction_id"],
        unique=False,
    )
    op.create_table(
        "transaction_faults",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=False),
        sa.Column("seq_no", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("found_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["station_id", "transaction_id"],
            ["transactions.station_id", "transactions.transaction_id"],
            name=op.f("fk_transaction_faults_station_id_transaction_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transaction_faults")),
    )
    op.create_index(
        op.f("ix_transaction_faults_station_id_transaction_id"),
        "transaction_faults",
        ["station_id", "transaction_id"],
        unique=False,
    )
    op.add_column("meter_values", sa.Column("verdict", sa.String(length=12), server_default="", nullable=False))
    op.add_column("transactions", sa.Column("heard_ms", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    """Drop them, referring tables first."""
    op.drop_column("transactions", "heard_ms")
    op.drop_column("meter_values", "verdict")
    for table in (
        "transaction_faults",
        "transaction_plans",
        "plan_assignments",
        "transaction_costs",
        "sites",
        "profile_templates",
        "price_plans",
        "meter_keys",
        "ev_schedules",
        "dynamic_schedules",
        "der_controls",
        "der_alarms",
        "charging_profiles",
        "charging_limits",
    ):
        op.drop_table(table)
