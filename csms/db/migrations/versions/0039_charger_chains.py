"""Why the chain of a journal's charger leads to no trusted root.

Revision 0039.
"""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column: chains that were delivered before count as trusted, as they did."""
    op.add_column("journal_certificates", sa.Column("charger_fault", sa.Text(), nullable=False, server_default=""))
