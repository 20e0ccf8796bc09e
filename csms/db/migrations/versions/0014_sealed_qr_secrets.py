"""Room for encrypted secrets of QR codes; the program encrypts clear ones when it starts.

Revision 0014.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen the column."""
    with op.batch_alter_table("qr_codes") as codes:
        codes.alter_column(
            "shared_secret", existing_type=sa.String(length=100), type_=sa.Text(), existing_nullable=False
        )
