"""Admissions, connection attempts and their faults; security events and issued certificates.

Revision 0005."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "admissions",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("boot", sa.String(length=16), server_default="", nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.String(length=64), server_default="", nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_seen_ms", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("address", sa.String(length=64), server_default="", nullable=False),
        sa.Column("offered", sa.String(length=255), server_default="", nullable=False),
        sa.Column("security_profile", sa.Integer(), server_default="0", nullable=False),
        sa.Column("least_profile", sa.Integer(), server_default="0", nullable=False),
        sa.Column("password", sa.Text(), server_default="", nullable=False),
        sa.Column("next_password", sa.Text(), server_default="", nullable=False),
        sa.Column("password_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("station_id", name=op.f("pk_admissions")),
    )
    op.create_table(
        "door_faults",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("detail", sa.String(length=400), nullable=False),
        sa.Column("hint", sa.String(length=400), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_door_faults")),
        sa.UniqueConstraint("station_id", "address", "kind", name=op.f("uq_door_faults_station_id_address_kind")),
    )
    op.create_index(op.f("ix_door_faults_last_ms"), "door_faults", ["last_ms"], unique=False)
    op.create_table(
        "security_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("type", sa.String(length=50), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("tech_info", sa.String(length=255), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_events")),
    )
    op.create_index(
        op.f("ix_security_events_station_id_at_ms"), "security_events", ["station_id", "at_ms"], unique=False
    )
    op.create_table(
        "station_certificates",
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_station_certificates")),
    )
    op.create_index(
        op.f("ix_station_certificates_station_id_issued_ms"),
        "station_certificates",
        ["station_id", "issued_ms"],
        unique=False,
    )
