"""QR codes for payment, and the choices of web payments.

Revision 0009.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and the column."""
    op.create_table(
        "qr_codes",
        sa.Column("station_id", sa.String(length=48), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("shared_secret", sa.String(length=100), nullable=False),
        sa.Column("validity_s", sa.Integer(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", name=op.f("pk_qr_codes")),
    )
    op.add_column("web_payments", sa.Column("transaction_limit", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("web_payments", "transaction_limit")
    op.drop_table("qr_codes")
