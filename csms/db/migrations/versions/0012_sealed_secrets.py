"""Secrets of webhooks are encrypted with a key; the unused table of reports is dropped.

Revision 0012.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add encrypted secrets and the key's fingerprint. The program encrypts clear secrets when it starts."""
    op.add_column("webhooks", sa.Column("sealed_secret", sa.Text(), nullable=False, server_default=""))
    op.execute("UPDATE webhooks SET sealed_secret = secret")
    op.drop_column("webhooks", "secret")  # replacing the table would, on SQLite, delete the deliveries
    op.create_table(
        "store_keys",
        sa.Column("fingerprint", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_store_keys")),
    )
    op.drop_table("reports")
