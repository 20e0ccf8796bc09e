"""The back end's store, SQLite or PostgreSQL: engine, schema, migrations, groups of commits, backups, sealed secrets.

Tables are in the `tables` of the features; `schema.py` has them all.
A store operation may be retried (`group_commit.py`): many share a commit, and when one fails, the others are repeated.
So an operation touches only the database.
"""
