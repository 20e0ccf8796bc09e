"""People whom an OpenID provider identifies."""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"


def upgrade() -> None:
    """Add the subject; null is a person with a password here."""
    op.add_column("users", sa.Column("subject", sa.String(600)))
    op.create_index("ix_users_subject", "users", ["subject"], unique=True)
