"""Roaming: partners, objects of OCPI, and the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0071"
down_revision = "0070"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "roaming_partners",
        sa.Column("partner_id", sa.String(36), primary_key=True),
        sa.Column("digest", sa.String(64)),
        sa.Column("next_digest", sa.String(64)),
        sa.Column("sealed_token", sa.Text(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger()),
        sa.Column("document", sa.Text(), nullable=False),
        sa.UniqueConstraint("digest", name="uq_roaming_partners_digest"),
        sa.UniqueConstraint("next_digest", name="uq_roaming_partners_next_digest"),
    )
    op.create_table(
        "roaming_objects",
        sa.Column("owner", sa.String(36), primary_key=True),
        sa.Column("module", sa.String(20), primary_key=True),
        sa.Column("object_id", sa.String(160), primary_key=True),
        sa.Column("audience", sa.String(36), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("about", sa.String(300), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
    )
    op.create_index(
        "ix_roaming_objects_owner_module_updated_ms_object_id",
        "roaming_objects",
        ["owner", "module", "updated_ms", "object_id"],
    )
    op.create_index("ix_roaming_objects_module_about", "roaming_objects", ["module", "about"])
    op.create_index("ix_roaming_objects_module_alias", "roaming_objects", ["module", "alias"])
    op.create_table(
        "roaming_deliveries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("partner_id", sa.String(36), nullable=False),
        sa.Column("module", sa.String(20), nullable=False),
        sa.Column("subject", sa.String(160), nullable=False),
        sa.Column("method", sa.String(6), nullable=False),
        sa.Column("path", sa.String(2000), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
    )
    op.create_index("ix_roaming_deliveries_due_ms", "roaming_deliveries", ["due_ms"])
    op.create_index(
        "ix_roaming_deliveries_partner_id_module_subject", "roaming_deliveries", ["partner_id", "module", "subject"]
    )
