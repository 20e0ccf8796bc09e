"""Pages of 100,000 objects for partners are counted by an index."""

from alembic import op

revision = "0076"
down_revision = "0075"

_NAME = "ix_roaming_objects_owner_module_updated_ms_object_id"


def upgrade() -> None:
    """Replace the index."""
    op.drop_index(_NAME, "roaming_objects")
    op.create_index(f"{_NAME}_audience", "roaming_objects", ["owner", "module", "updated_ms", "object_id", "audience"])
