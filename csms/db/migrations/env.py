"""Alembic's connection to the database: the one passed on by `csms.db.store.migrate`."""

from alembic import context

from csms.db.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
