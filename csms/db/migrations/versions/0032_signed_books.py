"""What the operator signs: receipts of complete journals, and closed periods.

Revision 0032.
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns; what is there is not signed."""
    op.add_column("journals", sa.Column("receipt", sa.Text()))
    op.add_column("accounting_periods", sa.Column("seal", sa.Text()))
