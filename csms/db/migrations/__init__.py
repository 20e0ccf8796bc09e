"""Migrations of the schema: `revisions` by number, with operations of Alembic."""
