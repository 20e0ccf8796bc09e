"""The mirror of stations' device models, and their network profiles.

Revision 0007."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "device_variables",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("component", sa.String(length=50), nullable=False),
        sa.Column("component_instance", sa.String(length=50), nullable=False),
        sa.Column("evse_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("connector_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("variable", sa.String(length=50), nullable=False),
        sa.Column("variable_instance", sa.String(length=50), nullable=False),
        sa.Column("attribute", sa.String(length=6), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("value_ms", sa.BigInteger(), nullable=True),
        sa.Column("after_reboot", sa.Text(), nullable=True),
        sa.Column("mutability", sa.String(length=9), server_default="", nullable=False),
        sa.Column("constant", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("persistent", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("data_type", sa.String(length=12), server_default="", nullable=False),
        sa.Column("unit", sa.String(length=16), server_default="", nullable=False),
        sa.Column("min_limit", sa.Float(), nullable=True),
        sa.Column("max_limit", sa.Float(), nullable=True),
        sa.Column("values_list", sa.Text(), server_default="", nullable=False),
        sa.Column("supports_monitoring", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint(
            "station_id",
            "component",
            "component_instance",
            "evse_id",
            "connector_id",
            "variable",
            "variable_instance",
            "attribute",
            name=op.f("pk_device_variables"),
        ),
    )
    op.create_table(
        "network_profiles",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("set_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "slot", name=op.f("pk_network_profiles")),
    )
