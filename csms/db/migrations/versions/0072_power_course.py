"""The course of power and use."""

import sqlalchemy as sa
from alembic import op

revision = "0072"
down_revision = "0071"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "power_course",
        sa.Column("site_id", sa.String(60), primary_key=True),
        sa.Column("at_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("import_w", sa.BigInteger(), nullable=False),
        sa.Column("export_w", sa.BigInteger(), nullable=False),
        sa.Column("unknown", sa.Integer(), nullable=False),
        sa.Column("sessions", sa.Integer(), nullable=False),
        sa.Column("evses", sa.Integer(), nullable=False),
        sa.Column("ready", sa.Integer(), nullable=False),
        sa.Column("import_limit_w", sa.BigInteger()),
        sa.Column("export_limit_w", sa.BigInteger()),
    )
