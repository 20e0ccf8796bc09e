"""The power of vehicles that follow a set-point may be unknown."""

import sqlalchemy as sa
from alembic import op

revision = "0066"
down_revision = "0065"


def upgrade() -> None:
    """Let the columns be empty."""
    for table in ("dispatch_course", "fleet_course"):
        with op.batch_alter_table(table) as batch:
            batch.alter_column("delivered_w", existing_type=sa.BigInteger(), nullable=True)
