"""Sites that roles of people and tokens are limited to."""

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"


def upgrade() -> None:
    """Add the sites; null is all."""
    for table in ("users", "api_tokens"):
        op.add_column(table, sa.Column("sites", sa.Text()))
