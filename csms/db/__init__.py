"""The back end's store, SQLite or PostgreSQL: schema, queries, migrations, groups of commits, backups.

Which contract a vehicle may receive: `contract_pool.py`; how telemetry is sealed: `telemetry_seal.py`; when records may
be deleted: `queries/retention.py`.
A store operation may be retried (`group_commit.py`): many share a commit, and when one fails, the others are repeated.
So an operation touches only the database.
"""
