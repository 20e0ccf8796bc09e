"""Deletes what is older than the configuration keeps, in steps that nobody waits for.

For how many days: `Retention` in `csms/config.py`; which tables are of which kind, and when their rows may be deleted:
`store.py`. Frames of stations are shown (`csms/events`), not stored.
"""
